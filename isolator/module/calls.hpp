// Mesos's Isolator interface as asynchronous calls to the daemon. All of it happens on one libprocess actor.
#pragma once

#include <string>
#include <vector>

#include <mesos/mesos.hpp>
#include <mesos/resources.hpp>
#include <mesos/slave/isolator.hpp>

#include <process/future.hpp>
#include <process/owned.hpp>

#include <stout/hashset.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

#include "settings.hpp"

namespace bpf {

// Every method may be called on any thread, returns at once, and its future completes within its deadline
// whatever the daemon does; only watch() stays pending, which to an agent is a container that is well.
class Calls {
 public:
  static process::Owned<Calls> start(const Settings& settings);

  virtual ~Calls() = default;

  // Fails when the daemon has not answered within `startup_timeout`, unless `fail_open`.
  virtual process::Future<Nothing> recover(const std::vector<mesos::slave::ContainerState>& states,
                                           const hashset<mesos::ContainerID>& orphans) = 0;

  // Leaves only after each update and cleanup before it is delivered. Fails with a message for the
  // framework's user.
  virtual process::Future<Option<mesos::slave::ContainerLaunchInfo>> prepare(
      const mesos::ContainerID& containerId, const mesos::slave::ContainerConfig& containerConfig) = 0;

  virtual process::Future<Nothing> isolate(const mesos::ContainerID& containerId, pid_t pid) = 0;

  // Completes with a limitation that is safe for the agent, or never.
  virtual process::Future<mesos::slave::ContainerLimitation> watch(const mesos::ContainerID& containerId) = 0;

  // Never fails: an agent destroys a container whose update() does. Delivered in the order of the calls.
  virtual process::Future<Nothing> update(
      const mesos::ContainerID& containerId, const mesos::Resources& resourceRequests,
      const google::protobuf::Map<std::string, mesos::Value::Scalar>& resourceLimits) = 0;

  // Empty where the daemon does not answer in time.
  virtual process::Future<mesos::ResourceStatistics> usage(const mesos::ContainerID& containerId) = 0;

  // From what the daemon has said before: every status update of a task waits for it.
  virtual process::Future<mesos::ContainerStatus> status(const mesos::ContainerID& containerId) = 0;

  // Never fails, and does not wait. Delivered in the order of the calls.
  virtual process::Future<Nothing> cleanup(const mesos::ContainerID& containerId) = 0;
};

}  // namespace bpf
