#pragma once

namespace dyn {

/// Logarithm, exponential and power that give the same bits on every x86-64 machine: glibc
/// chooses code with or without fused multiply-add by processor, these do not. Within 2 ulp over
/// the normal range (tested against long double). Used in samplers and reports.
double portable_log(double x);
double portable_log2(double x);  ///< portable_log(x) / ln 2
double portable_exp(double x);
double portable_pow(double base, double exponent);

}  // namespace dyn
