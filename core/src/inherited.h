#pragma once

namespace dyn {

/// A member of a base as one of T, which a schema of T asks for.
template <class T, class Base, class Member>
Member T::*inherited(Member Base::*member) {
  return member;
}

}  // namespace dyn
