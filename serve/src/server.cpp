#include "dyn/serve/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "dyn/core/error.h"
#include "dyn/core/log.h"
#include "http_text.h"
#include "session.h"
#include "task_group.h"

namespace dyn::serve {
namespace {

using boost::system::error_code;
constexpr auto kAwait = net::as_tuple(net::use_awaitable);
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);
/// After the grace, for the last words to reach the clients.
constexpr Duration kLastWords = std::chrono::seconds(2);

tcp::acceptor listen(net::io_context& io, const ServeOptions& options) {
  const std::string where = host_port(options.host, options.port);
  error_code error;
  tcp::resolver resolver(io);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    throw Error(ErrorKind::failed, "cannot listen on " + where + ": " + error.message(),
                "--host must be an address of this machine, such as 127.0.0.1 or 0.0.0.0");
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) {
    acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    acceptor.bind(endpoint, error);
  }
  if (!error) {
    acceptor.listen(tcp::acceptor::max_listen_connections, error);
  }
  if (error) {
    const bool in_use = error == net::error::address_in_use;
    throw Error(ErrorKind::failed, "cannot listen on " + where + ": " + error.message(),
                in_use ? "another process uses port " + std::to_string(options.port) +
                             "; stop it, or choose a port with --port (0 takes a free one)"
                       : "choose another --host or --port");
  }
  return acceptor;
}

}  // namespace

struct Server::Impl {
  Impl(Plan plan, ServeOptions a_options)
      : options(std::move(a_options)),
        io(options.threads),
        strand(net::make_strand(io)),
        acceptor(listen(io, options)),
        state(std::make_shared<ServerState>(std::move(plan), options, io.get_executor())),
        signals(strand),
        grace(strand),
        pause(strand),
        tasks(std::make_shared<TaskGroup>()),
        port(acceptor.local_endpoint().port()) {}

  void start();
  void wait_for_signal();
  net::awaitable<void> accept();
  void admit(tcp::socket socket);
  void begin_drain();
  void drained();
  void grace_over();
  void finish();

  const ServeOptions options;
  net::io_context io;
  net::any_io_executor strand;
  tcp::acceptor acceptor;  // before the state: a port in use must not cost another's log
  std::shared_ptr<ServerState> state;
  net::signal_set signals;
  net::steady_timer grace;
  net::steady_timer pause;
  std::shared_ptr<TaskGroup> tasks;
  const std::uint16_t port;

  // On the strand only.
  std::map<std::uint64_t, std::weak_ptr<Session>> sessions;
  std::uint64_t next_session = 0;
  bool draining = false;
  bool finishing = false;
  ServeEnd end;
};

void Server::Impl::start() {
  state->on_left = [this] { net::post(strand, [this] { drained(); }); };
  if (options.handle_signals) {
    signals.add(SIGINT);
    signals.add(SIGTERM);
    wait_for_signal();
  }
  tasks->spawn(strand, accept(), [this] {
    net::post(strand, [this] {
      error_code ignored;
      acceptor.close(ignored);
      pause.cancel();
    });
  });
}

void Server::Impl::wait_for_signal() {
  signals.async_wait([this](error_code error, int signal) {
    if (error) {
      return;
    }
    if (draining) {
      end.drained = false;
      finish();
      return;
    }
    end.signal = signal;
    begin_drain();
    if (!finishing) {
      wait_for_signal();
    }
  });
}

net::awaitable<void> Server::Impl::accept() {
  while (acceptor.is_open()) {
    if (sessions.size() >= static_cast<std::size_t>(options.limits.connections)) {
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kAwait);
      std::erase_if(sessions, [](const auto& entry) { return entry.second.expired(); });
      continue;
    }
    net::any_io_executor own = net::make_strand(io);
    auto [error, socket] = co_await acceptor.async_accept(own, kAwait);
    if (error == net::error::operation_aborted || !acceptor.is_open()) {
      break;
    }
    if (error) {
      log(LogLevel::warn, "serve", "cannot accept a connection", {{"why", error.message()}});
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kAwait);
      continue;
    }
    admit(std::move(socket));
  }
}

void Server::Impl::admit(tcp::socket socket) {
  const net::any_io_executor executor = socket.get_executor();
  auto session = std::make_shared<Session>(state, std::move(socket));
  const std::weak_ptr<Session> weak = session;
  sessions.emplace(next_session++, weak);
  if (next_session % 64 == 0) {
    std::erase_if(sessions, [](const auto& entry) { return entry.second.expired(); });
  }
  tasks->spawn(executor, session->run(), [weak] {
    if (const auto held = weak.lock()) {
      held->stop();
    }
  });
}

void Server::Impl::begin_drain() {
  draining = true;
  end.drained = true;
  state->draining = true;
  log(LogLevel::info, "serve", "draining",
      {{"in_flight", std::to_string(state->in_flight.load())}});
  grace.expires_after(options.drain_timeout);
  grace.async_wait([this](error_code error) {
    if (!error && !finishing) {
      grace_over();
    }
  });
  if (state->in_flight == 0) {
    finish();
  }
}

void Server::Impl::drained() {
  if (draining && !finishing && state->in_flight == 0) {
    finish();
  }
}

void Server::Impl::grace_over() {
  end.drained = false;
  for (const auto& [number, weak] : sessions) {
    if (const auto session = weak.lock()) {
      session->give_up();
    }
  }
  grace.expires_after(kLastWords);
  grace.async_wait([this](error_code error) {
    if (!error) {
      finish();
    }
  });
}

void Server::Impl::finish() {
  if (std::exchange(finishing, true)) {
    return;
  }
  error_code ignored;
  grace.cancel();
  signals.cancel(ignored);
  signals.clear(ignored);
  tasks->stop();
  state->fleet->stop();
}

Server::Server(Plan plan, ServeOptions options)
    : impl_(std::make_unique<Impl>(std::move(plan), std::move(options))) {}

Server::~Server() = default;

std::uint16_t Server::port() const {
  return impl_->port;
}

std::string Server::url() const {
  return "http://" + host_port(impl_->options.host, impl_->port);
}

ServeEnd Server::run() {
  impl_->start();
  std::vector<std::thread> others;
  for (int i = 1; i < impl_->options.threads; ++i) {
    others.emplace_back([this] { impl_->io.run(); });
  }
  // Returns when nothing is left to do: that is the join of every task.
  impl_->io.run();
  for (std::thread& thread : others) {
    thread.join();
  }
  return impl_->end;
}

void Server::shutdown() {
  net::post(impl_->strand, [impl = impl_.get()] {
    if (impl->draining) {
      impl->end.drained = false;
      impl->finish();
    } else {
      impl->begin_drain();
    }
  });
}

}  // namespace dyn::serve
