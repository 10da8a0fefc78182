#include "loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace dyn::test {
namespace {

constexpr int kPatience = 20'000;  // ms
std::mutex g_last_mutex;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool find_header(const std::string& head, std::string name, std::string& value) {
  std::string lower = head;
  const auto fold = [](std::string& s) {
    std::transform(s.begin(), s.end(), s.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  };
  fold(lower);
  fold(name);
  const std::size_t at = lower.find("\r\n" + name + ": ");
  if (at == std::string::npos) {
    return false;
  }
  const std::size_t begin = at + 4 + name.size();
  value = head.substr(begin, head.find("\r\n", begin) - begin);
  return true;
}

}  // namespace

Connection::Connection(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  const sockaddr_in address = loopback(port);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error("cannot connect");
  }
  const int one = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

Connection::~Connection() {
  close();
}

Connection::Connection(Connection&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), buffer_(std::move(other.buffer_)) {}

void Connection::close() {
  if (socket_ >= 0) {
    ::close(std::exchange(socket_, -1));
  }
}

void Connection::reset() {
  const linger hard{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

bool Connection::send(const std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) {
      return false;
    }
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

std::string Connection::read_some() {
  if (!buffer_.empty()) {
    return std::exchange(buffer_, {});
  }
  pollfd ready{socket_, POLLIN, 0};
  if (::poll(&ready, 1, kPatience) <= 0) {
    return {};
  }
  char bytes[16384];
  const ssize_t n = ::recv(socket_, bytes, sizeof bytes, 0);
  return n > 0 ? std::string(bytes, static_cast<std::size_t>(n)) : std::string();
}

std::string Connection::read_until(const std::string& mark) {
  std::string text;
  while (text.find(mark) == std::string::npos) {
    const std::string more = read_some();
    if (more.empty()) {
      return text;
    }
    text += more;
  }
  const std::size_t end = text.find(mark) + mark.size();
  buffer_ = text.substr(end) + buffer_;
  return text.substr(0, end);
}

HttpAnswer Connection::read_answer(bool head_only) {
  HttpAnswer answer;
  answer.head = read_until("\r\n\r\n");
  if (answer.head.size() < 12) {
    return answer;
  }
  answer.status = std::stoi(answer.head.substr(9, 3));
  std::string value;
  if (head_only) {
    answer.complete = true;
  } else if (find_header(answer.head, "Content-Length", value)) {
    const std::size_t size = std::stoul(value);
    while (answer.body.size() < size) {
      const std::string more = read_some();
      if (more.empty()) {
        return answer;
      }
      answer.body += more;
    }
    buffer_ = answer.body.substr(size) + buffer_;
    answer.body.resize(size);
    answer.complete = true;
  } else if (find_header(answer.head, "Transfer-Encoding", value)) {
    while (true) {
      const std::string line = read_until("\r\n");
      if (line.size() < 3) {
        return answer;
      }
      const std::size_t size = std::stoul(line, nullptr, 16);
      std::string data;
      while (data.size() < size + 2) {
        const std::string more = read_some();
        if (more.empty()) {
          return answer;
        }
        data += more;
      }
      buffer_ = data.substr(size + 2) + buffer_;
      answer.body += data.substr(0, size);
      if (size == 0) {
        answer.complete = true;
        return answer;
      }
    }
  } else {
    for (std::string more = read_some(); !more.empty(); more = read_some()) {
      answer.body += more;
    }
    answer.complete = true;
  }
  return answer;
}

std::string post(const std::string& path, const std::string& body, const std::string& more) {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string get(const std::string& path, const char* method) {
  return std::string(method) + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

std::string chat(const std::string& more, const std::string& content) {
  return R"({"model":"test/model","messages":[{"role":"user","content":")" + content + "\"}]" +
         more + "}";
}

FakeEngine::FakeEngine(Handler handle, std::uint16_t port)
    : handle_(std::move(handle)), last_(std::make_shared<std::string>()) {
  listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address = loopback(port);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 64) != 0) {
    throw std::runtime_error("cannot listen");
  }
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept(); });
}

FakeEngine::~FakeEngine() {
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

std::string FakeEngine::last_request() const {
  const std::scoped_lock lock(g_last_mutex);
  return *last_;
}

void FakeEngine::accept() {
  for (int socket = ::accept(listener_, nullptr, nullptr); socket >= 0;
       socket = ::accept(listener_, nullptr, nullptr)) {
    threads_.emplace_back([this, socket] {
      Connection connection(socket);
      std::string request = connection.read_until("\r\n\r\n");
      std::string value;
      if (find_header(request, "Content-Length", value)) {
        const std::size_t size = request.size() + std::stoul(value);
        while (request.size() < size) {
          const std::string more = connection.read_some();
          if (more.empty()) {
            return;
          }
          request += more;
        }
      }
      if (request.rfind("GET /health", 0) == 0) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      ++requests_;
      {
        const std::scoped_lock lock(g_last_mutex);
        *last_ = request;
      }
      handle_(connection, request);
    });
  }
}

namespace {

PoolSpec simulated_pool(WorkerRole role, int replicas) {
  PoolSpec pool;
  pool.role = role;
  pool.replicas = replicas;
  pool.config.max_num_seqs = 64;
  pool.config.max_num_batched_tokens = 2048;
  pool.config.block_size = 16;
  pool.config.kv_blocks = 1000;
  pool.config.max_model_len = 4096;
  return pool;
}

Plan empty_plan() {
  Plan plan;
  plan.name = "test";
  plan.model.name = "test/model";
  plan.model.max_context = 4096;
  plan.router.max_queued_per_worker = 64;
  return plan;
}

}  // namespace

Plan aggregated_plan(int replicas) {
  Plan plan = empty_plan();
  plan.pools.push_back(simulated_pool(WorkerRole::aggregated, replicas));
  return plan;
}

Plan disaggregated_plan() {
  Plan plan = empty_plan();
  plan.pools.push_back(simulated_pool(WorkerRole::prefill, 2));
  plan.pools.push_back(simulated_pool(WorkerRole::decode, 2));
  plan.transfer.bandwidth = BytesPerSec(1e9);
  plan.transfer.latency = std::chrono::milliseconds(1);
  plan.transfer.bytes_per_token = Bytes(1000);
  return plan;
}

Plan relaying_plan(const std::vector<std::string>& urls) {
  Plan plan = empty_plan();
  plan.pools.push_back(simulated_pool(WorkerRole::aggregated, static_cast<int>(urls.size())));
  plan.pools[0].engine.kind = EngineKind::openai;
  plan.pools[0].engine.url = urls;
  plan.pools[0].engine.connect_timeout = std::chrono::seconds(2);
  plan.pools[0].engine.first_token_timeout = std::chrono::seconds(10);
  plan.pools[0].engine.token_timeout = std::chrono::seconds(10);
  return plan;
}

RunningServer::RunningServer(Plan plan, Duration step,
                             std::function<void(serve::ServeOptions&)> change) {
  serve::ServeOptions options;
  options.port = 0;
  options.threads = 2;  // so that the thread sanitizer has something to look at in every test
  options.probe_interval = std::chrono::milliseconds(50);
  options.make_timer = [step](const PoolSpec&) { return std::make_shared<FixedTimer>(step); };
  if (change) {
    change(options);
  }
  server_ = std::make_unique<serve::Server>(std::move(plan), options);
  thread_ = std::thread([this] { end_ = server_->run(); });
}

RunningServer::~RunningServer() {
  if (thread_.joinable()) {
    server_->shutdown();
    server_->shutdown();
    thread_.join();
  }
}

serve::ServeEnd RunningServer::join() {
  thread_.join();
  return end_;
}

HttpAnswer RunningServer::ask(const std::string& request) {
  Connection connection(port());
  connection.send(request);
  return connection.read_answer();
}

double RunningServer::metric(const std::string& line_begin) {
  const std::string text = '\n' + ask(get("/metrics")).body;
  const std::size_t at = text.find('\n' + line_begin);
  if (at == std::string::npos) {
    return -1;
  }
  const std::size_t end = text.find('\n', at + 1);
  const std::string line = text.substr(at + 1, end - at - 1);
  return std::stod(line.substr(line.rfind(' ') + 1));
}

bool RunningServer::metric_becomes(const std::string& line_begin, double value) {
  for (int i = 0; i < 2000; ++i) {
    if (metric(line_begin) == value) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace dyn::test
