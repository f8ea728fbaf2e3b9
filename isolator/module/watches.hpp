// watch(): one stream for each container, opened again whenever it ends, until there is a limitation or
// cleanup.
#pragma once

#include <deque>

#include <mesos/mesos.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/type_utils.hpp>

#include <process/future.hpp>
#include <process/owned.hpp>
#include <process/pid.hpp>

#include <stout/hashmap.hpp>
#include <stout/option.hpp>

#include "client.hpp"
#include "timing.hpp"

namespace bpf {

// Part of an actor, and used in its context only.
class Watches {
 public:
  Watches(const process::UPID& owner, Client* client);

  // Pending until there is a limitation, whatever becomes of the daemon. The same future each time.
  process::Future<mesos::slave::ContainerLimitation> add(const mesos::ContainerID& containerId);

  // The same, and the daemon is not asked: for what it does not know.
  process::Future<mesos::slave::ContainerLimitation> addSilent(const mesos::ContainerID& containerId);

  void remove(const mesos::ContainerID& containerId);

 private:
  struct Watch {
    // Tells it from an earlier one of the same id.
    uint64_t number;
    process::Promise<mesos::slave::ContainerLimitation> limitation;
    Option<Stream> stream;
    // Tells its stream from those before.
    uint64_t streamNumber;
  };

  process::Owned<Watch> enter(const mesos::ContainerID& containerId);
  Watch* find(const mesos::ContainerID& containerId, uint64_t number);
  void open();
  void opened(const mesos::ContainerID& containerId, uint64_t number, const process::Future<Stream>& stream);
  void read(const mesos::ContainerID& containerId, uint64_t number);
  void handle(const mesos::ContainerID& containerId, Watch* watch, const bpf_isolator::Response& record);
  void ended(const mesos::ContainerID& containerId, uint64_t number);

  const process::UPID owner;
  Client* const client;
  hashmap<mesos::ContainerID, process::Owned<Watch>> watches;
  uint64_t nextNumber = 0;
  uint64_t nextStream = 0;

  // Containers whose stream is to be opened.
  std::deque<mesos::ContainerID> closed;
  size_t opening = 0;
  // Whether one has failed, and all wait.
  bool paused = false;
  Backoff backoff;
};

}  // namespace bpf
