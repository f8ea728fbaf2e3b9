// usage(): agents ask of all containers at once, and the daemon is asked of many by one call.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include <mesos/mesos.hpp>

#include <process/future.hpp>
#include <process/pid.hpp>

#include <stout/duration.hpp>

#include "bpf_isolator/isolator.pb.h"
#include "client.hpp"
#include "errand.hpp"

namespace bpf {

// Part of an actor, and used in its context only.
class Usages {
 public:
  // `timeout`: of a question, from when it is asked.
  Usages(const process::UPID& owner, Client* client, Errands* errands, const Duration& timeout);

  // Empty where the daemon does not answer in time.
  process::Future<mesos::ResourceStatistics> ask(const mesos::ContainerID& containerId);

 private:
  struct Question {
    mesos::ContainerID containerId;
    process::Promise<mesos::ResourceStatistics> promise;
  };
  using Held = std::shared_ptr<Question>;
  using Batch = std::shared_ptr<std::vector<Held>>;

  void send();
  Batch next();
  void answered(const Batch& batch, const process::Future<bpf_isolator::Response>& answer);

  const process::UPID owner;
  Client* const client;
  Errands* const errands;
  const Duration timeout;

  std::deque<Held> waiting;
  // Whether send() will be called.
  bool scheduled = false;
  // Calls that are under way.
  size_t asking = 0;
};

}  // namespace bpf
