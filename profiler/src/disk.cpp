#include "disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "dyn/core/error.h"

namespace dyn::profiler {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kPage = 4096;
constexpr std::int64_t kMostBytes = std::int64_t{512} << 20;
constexpr std::int64_t kLeastBytes = std::int64_t{8} << 20;

[[noreturn]] void fail(const std::string& folder, int error) {
  throw Error(ErrorKind::failed,
              "cannot measure the disk under " + folder + ": " + std::strerror(error),
              "name another folder with --dir, or leave the disk out with --no-disk");
}

/// A file without a name.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& folder) {
    for (const int flags : {O_DIRECT, 0}) {
      direct_ = flags != 0;
      descriptor_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
      if (descriptor_ >= 0) {
        return;
      }
      const bool unsupported = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL;
      if (!unsupported) {
        break;
      }
    }
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
      fail(folder, errno);
    }
    // A file system without O_TMPFILE: the name is taken away at once.
    std::string name = folder + "/.dyn-profile-XXXXXX";
    descriptor_ = ::mkstemp(name.data());
    if (descriptor_ < 0) {
      fail(folder, errno);
    }
    ::unlink(name.c_str());
    direct_ = ::fcntl(descriptor_, F_SETFL, O_DIRECT) == 0;
  }
  ~ScratchFile() { ::close(descriptor_); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  int descriptor() const { return descriptor_; }
  bool direct() const { return direct_; }

 private:
  int descriptor_ = -1;
  bool direct_ = false;
};

struct Free {
  void operator()(void* p) const { std::free(p); }
};

bool transfer(int descriptor, bool write, std::byte* data, std::size_t bytes, std::int64_t at) {
  while (bytes > 0) {
    const ssize_t n =
        write ? ::pwrite(descriptor, data, bytes, at) : ::pread(descriptor, data, bytes, at);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      errno = n == 0 ? EIO : errno;
      return false;
    }
    data += n;
    at += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

BytesPerSec rate(std::int64_t bytes, Duration time) {
  return BytesPerSec(static_cast<double>(bytes) / to_seconds(std::max(time, Duration(1))));
}

}  // namespace

DiskFigures measure_disk(Session& session, const std::string& folder, Duration budget) {
  const ScratchFile file(folder);
  const std::unique_ptr<std::byte, Free> chunk(
      static_cast<std::byte*>(std::aligned_alloc(kPage, kChunk)));
  if (!chunk) {
    fail(folder, ENOMEM);
  }
  std::mt19937_64 random(2);  // Not zeros: some file systems and disks store those for nothing.
  for (std::size_t i = 0; i < kChunk; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(chunk.get() + i, &word, sizeof(word));
  }
  DiskFigures figures;
  figures.direct = file.direct();
  Clock& clock = session.clock();
  Duration start = clock.now();
  while (figures.bytes < kMostBytes &&
         (figures.bytes < kLeastBytes || clock.now() - start < budget / 2)) {
    session.check_cancelled();
    if (!transfer(file.descriptor(), true, chunk.get(), kChunk, figures.bytes)) {
      fail(folder, errno);
    }
    figures.bytes += static_cast<std::int64_t>(kChunk);
  }
  if (::fdatasync(file.descriptor()) != 0) {
    fail(folder, errno);
  }
  figures.write = rate(figures.bytes, clock.now() - start);
  if (!figures.direct) {
    ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  }

  std::int64_t done = 0;
  start = clock.now();
  while (done < figures.bytes && (done < kLeastBytes || clock.now() - start < budget / 4)) {
    session.check_cancelled();
    if (!transfer(file.descriptor(), false, chunk.get(), kChunk, done)) {
      fail(folder, errno);
    }
    done += static_cast<std::int64_t>(kChunk);
  }
  figures.read = rate(done, clock.now() - start);
  if (!figures.direct) {
    ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  }
  const auto pages = static_cast<std::uint64_t>(figures.bytes) / kPage;
  bool good = true;
  figures.latency =
      session
          .time(budget / 4,
                [&] {
                  const auto at = static_cast<std::int64_t>(random() % pages * kPage);
                  good = transfer(file.descriptor(), false, chunk.get(), kPage, at) && good;
                })
          .median;
  if (!good) {
    fail(folder, EIO);
  }
  return figures;
}

}  // namespace dyn::profiler
