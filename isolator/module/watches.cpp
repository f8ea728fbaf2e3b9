// The streams of watch(). When one breaks, most likely all do: they are opened again a few at a time, with a
// pause after each failure that holds for all.
#include "watches.hpp"

#include <process/defer.hpp>

#include <stout/stringify.hpp>

#include <glog/logging.h>

#include "answers.hpp"

using bpf_isolator::Call;
using bpf_isolator::Response;
using mesos::ContainerID;
using mesos::slave::ContainerLimitation;
using process::defer;
using process::Future;
using process::Owned;
using process::UPID;
using std::vector;

namespace bpf {

namespace {

constexpr size_t MAX_OPENING = 16;
const Duration OPEN_TIMEOUT = Seconds(10);
const Duration RETRY_FIRST = Milliseconds(100);
const Duration RETRY_MOST = Seconds(5);
// A stream that has lasted as long was no accident.
const Duration STABLE = Seconds(10);

}  // namespace

Watches::Watches(const UPID& _owner, Client* _client)
    : owner(_owner), client(_client), backoff(RETRY_FIRST, RETRY_MOST) {}

Owned<Watches::Watch> Watches::enter(const ContainerID& containerId) {
  Owned<Watch> watch(new Watch{nextNumber++, {}, None(), 0});
  watches.put(containerId, watch);
  return watch;
}

Future<ContainerLimitation> Watches::add(const ContainerID& containerId) {
  if (watches.contains(containerId)) {
    return watches.at(containerId)->limitation.future();
  }
  const Future<ContainerLimitation> limitation = enter(containerId)->limitation.future();
  closed.push_back(containerId);
  open();
  return limitation;
}

Future<ContainerLimitation> Watches::addSilent(const ContainerID& containerId) {
  if (watches.contains(containerId)) {
    return watches.at(containerId)->limitation.future();
  }
  return enter(containerId)->limitation.future();
}

void Watches::remove(const ContainerID& containerId) {
  if (!watches.contains(containerId)) {
    return;
  }
  if (watches.at(containerId)->stream.isSome()) {
    watches.at(containerId)->stream->leave();
  }
  watches.erase(containerId);
}

Watches::Watch* Watches::find(const ContainerID& containerId, uint64_t number) {
  if (!watches.contains(containerId) || watches.at(containerId)->number != number) {
    return nullptr;
  }
  return watches.at(containerId).get();
}

void Watches::open() {
  while (!paused && opening < MAX_OPENING && !closed.empty()) {
    const ContainerID containerId = closed.front();
    closed.pop_front();
    if (!watches.contains(containerId) || watches.at(containerId)->stream.isSome()) {
      continue;
    }
    const uint64_t number = watches.at(containerId)->number;
    Call call;
    call.set_type(Call::WATCH);
    *call.mutable_watch()->mutable_container_id() = containerId;
    opening++;
    client->stream(call)
        .after(OPEN_TIMEOUT,
               [](Future<Stream> stream) -> Future<Stream> {
                 stream.discard();
                 return process::Failure("it did not answer in time");
               })
        .onAny(defer(owner, [this, containerId, number](const Future<Stream>& stream) {
          opened(containerId, number, stream);
        }));
  }
}

void Watches::opened(const ContainerID& containerId, uint64_t number, const Future<Stream>& stream) {
  opening--;
  Watch* watch = find(containerId, number);
  if (watch == nullptr) {
    if (stream.isReady()) {
      Stream useless = stream.get();
      useless.leave();
    }
  } else if (stream.isReady()) {
    watch->stream = stream.get();
    read(containerId, number);
    const uint64_t opened = watch->streamNumber = nextStream++;
    later(STABLE, owner, [this, containerId, number, opened]() {
      const Watch* stable = find(containerId, number);
      if (stable != nullptr && stable->stream.isSome() && stable->streamNumber == opened) {
        backoff.reset();
      }
    });
  } else {
    ended(containerId, number);
  }
  open();
}

void Watches::read(const ContainerID& containerId, uint64_t number) {
  find(containerId, number)
      ->stream->next()
      .onAny(defer(owner, [this, containerId, number](const Future<vector<Response>>& records) {
        Watch* watch = find(containerId, number);
        if (watch == nullptr) {
          return;
        }
        if (!records.isReady() || records->empty()) {
          watch->stream->close();
          watch->stream = None();
          ended(containerId, number);
          return;
        }
        for (const Response& record : records.get()) {
          handle(containerId, watch, record);
        }
        read(containerId, number);
      }));
}

void Watches::handle(const ContainerID& containerId, Watch* watch, const Response& record) {
  if (record.type() != Response::WATCH || !record.watch().has_limitation()) {
    return;
  }
  if (watch->limitation.future().isPending()) {
    const ContainerLimitation limitation = checked(record.watch().limitation());
    LOG(WARNING) << "bpf_isolator: container " << stringify(containerId)
                 << " has to end: " << limitation.message();
    watch->limitation.set(limitation);
  }
}

void Watches::ended(const ContainerID& containerId, uint64_t number) {
  const Watch* watch = find(containerId, number);
  if (watch != nullptr && watch->limitation.future().isPending()) {
    closed.push_back(containerId);
  }
  if (paused || closed.empty()) {
    return;
  }
  paused = true;
  later(backoff.next(), owner, [this]() {
    paused = false;
    open();
  });
}

}  // namespace bpf
