// What the daemon has said of containers: what status() answers, and what sessions in them get. Said at
// prepare, and asked for where an agent has recovered the container.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <mesos/mesos.hpp>
#include <mesos/slave/containerizer.hpp>
#include <mesos/type_utils.hpp>

#include <process/future.hpp>
#include <process/pid.hpp>

#include <stout/duration.hpp>
#include <stout/hashmap.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

#include "bpf_isolator/isolator.pb.h"
#include "errand.hpp"
#include "timing.hpp"

namespace bpf {

// Part of an actor, and used in its context only.
class Statuses {
 public:
  // `socket`: for messages. `timeout`: of one question, and of those who wait for its answer.
  Statuses(const process::UPID& owner, Errands* errands, const std::string& socket, const Duration& timeout);

  // Nothing is known of this container until it is asked for and answered.
  void expect(const mesos::ContainerID& containerId);

  // Asks for a container that is expected, until there is an answer or it has ended.
  void ask(const mesos::ContainerID& containerId);

  void setStatus(const mesos::ContainerID& containerId, const mesos::ContainerStatus& status);
  void setSession(const mesos::ContainerID& containerId, const mesos::slave::ContainerLaunchInfo& launchInfo);

  // Empty where nothing is known.
  mesos::ContainerStatus status(const mesos::ContainerID& containerId) const;

  // What to add to the launch of a session in this container. Waits where it is expected; fails when there is
  // no answer in time, with a message for the framework's user.
  process::Future<Option<mesos::slave::ContainerLaunchInfo>> session(const mesos::ContainerID& containerId);

  void remove(const mesos::ContainerID& containerId);

 private:
  using Expected = std::shared_ptr<process::Promise<Nothing>>;

  void attempt(const mesos::ContainerID& containerId, const Expected& answered, Backoff backoff);
  void attempted(const mesos::ContainerID& containerId, const Expected& answered, Backoff backoff,
                 const process::Future<bpf_isolator::Response>& answer);
  bool isExpected(const mesos::ContainerID& containerId, const Expected& answered) const;

  const process::UPID owner;
  Errands* const errands;
  const std::string socket;
  const Duration timeout;

  // Of containers for which that is more than nothing.
  hashmap<mesos::ContainerID, mesos::ContainerStatus> statuses;
  hashmap<mesos::ContainerID, mesos::slave::ContainerLaunchInfo> sessions;
  hashmap<mesos::ContainerID, Expected> expected;
};

}  // namespace bpf
