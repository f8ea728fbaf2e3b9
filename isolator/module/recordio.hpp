// Mesos's RecordIO: for each record its length in decimal, a newline, and that many bytes.
#pragma once

#include <string>
#include <vector>

#include <stout/error.hpp>
#include <stout/try.hpp>

namespace bpf {

// Of a stream whose writer is not trusted to be sane; stout's decoder has no bound.
class RecordDecoder {
 public:
  // `limit`: bytes of a record.
  explicit RecordDecoder(size_t _limit) : limit(_limit) {}

  // The records that are complete by now. After an error the stream has no sense any more.
  Try<std::vector<std::string>> push(const std::string& data) {
    rest += data;
    std::vector<std::string> records;
    for (;;) {
      const size_t newline = rest.find('\n');
      if (newline == std::string::npos) {
        if (rest.size() > MAX_DIGITS) {
          return Error("there is no length where a record has to begin");
        }
        return records;
      }
      if (newline == 0 || newline > MAX_DIGITS || rest.find_first_not_of("0123456789") != newline) {
        return Error("there is no length where a record has to begin");
      }
      const size_t length = std::stoul(rest.substr(0, newline));
      if (length > limit) {
        return Error("a record has " + std::to_string(length) + " bytes");
      }
      if (rest.size() < newline + 1 + length) {
        return records;
      }
      records.push_back(rest.substr(newline + 1, length));
      rest.erase(0, newline + 1 + length);
    }
  }

 private:
  static constexpr size_t MAX_DIGITS = 9;

  const size_t limit;
  std::string rest;
};

}  // namespace bpf
