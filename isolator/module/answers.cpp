// Checks of the daemon's answers. The facts about the agent are of Mesos 1.12's sources, and 1.10 has the
// same.
#include "answers.hpp"

#include <fstream>

#include <mesos/resources.hpp>

#include <stout/error.hpp>

using mesos::ContainerStatus;
using mesos::Resource;
using mesos::Resources;
using mesos::ResourceStatistics;
using mesos::TaskStatus;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using std::string;

namespace bpf {

namespace {

// It becomes part of every status update of the container's tasks.
constexpr size_t MAX_MESSAGE = 4096;

bool hasNetRaw(const mesos::CapabilityInfo& set) {
  for (const int capability : set.capabilities()) {
    if (capability == mesos::CapabilityInfo::NET_RAW) {
      return true;
    }
  }
  return false;
}

// Of /proc/self/status; none where it cannot be read, which takes everything away.
uint64_t ownBoundingSet() {
  std::ifstream status("/proc/self/status");
  string line;
  while (std::getline(status, line)) {
    if (line.compare(0, 7, "CapBnd:") == 0) {
      return std::stoull(line.substr(7), nullptr, 16);
    }
  }
  return 0;
}

bool mayHaveResources(TaskStatus::Reason reason) {
  return reason == TaskStatus::REASON_CONTAINER_LIMITATION ||
         reason == TaskStatus::REASON_CONTAINER_LIMITATION_DISK ||
         reason == TaskStatus::REASON_CONTAINER_LIMITATION_MEMORY;
}

}  // namespace

ContainerLimitation checked(const ContainerLimitation& limitation) {
  ContainerLimitation result;
  string message = limitation.message();
  if (message.size() > MAX_MESSAGE) {
    size_t end = MAX_MESSAGE;
    // Not within a character: protobuf wants UTF-8.
    while (end > 0 && (message[end] & 0xC0) == 0x80) {
      end--;
    }
    message.resize(end);
  }
  if (message.empty()) {
    message = "bpf-isolator ends this container and gave no reason";
  }
  result.set_message(message);
  // Without a reason the task's would be REASON_EXECUTOR_TERMINATED, which says nothing.
  const bool known = limitation.has_reason() && mayHaveResources(limitation.reason());
  result.set_reason(known ? limitation.reason() : TaskStatus::REASON_CONTAINER_LIMITATION);
  if (Resources::validate(limitation.resources()).isNone()) {
    *result.mutable_resources() = limitation.resources();
  }
  return result;
}

ContainerLaunchInfo checked(const ContainerLaunchInfo& launchInfo) {
  ContainerLaunchInfo result = launchInfo;
  if (!launchInfo.has_bounding_capabilities()) {
    return result;
  }
  static const uint64_t own = ownBoundingSet();
  result.mutable_bounding_capabilities()->clear_capabilities();
  for (const int capability : launchInfo.bounding_capabilities().capabilities()) {
    const int bit = capability - mesos::CapabilityInfo::CHOWN;
    if (bit >= 0 && bit < 64 && (own >> bit & 1) != 0) {
      result.mutable_bounding_capabilities()->add_capabilities(
          static_cast<mesos::CapabilityInfo::Capability>(capability));
    }
  }
  return result;
}

Option<string> problemOf(const ContainerLaunchInfo& launchInfo) {
  // src/slave/containerizer/mesos/containerizer.cpp: the first two fail the launch, a command may abort the
  // agent.
  if (launchInfo.has_rootfs()) {
    return string("rootfs");
  }
  if (launchInfo.has_user()) {
    return string("user");
  }
  if (launchInfo.has_command()) {
    return string("command");
  }
  return None();
}

// A container of an old framework has it still.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

bool asksForNetRaw(const mesos::slave::ContainerConfig& config) {
  const mesos::LinuxInfo& linux_ = config.container_info().linux_info();
  return hasNetRaw(linux_.capability_info()) || hasNetRaw(linux_.bounding_capabilities()) ||
         hasNetRaw(linux_.effective_capabilities());
}

ResourceStatistics checked(const ResourceStatistics& statistics) {
  ResourceStatistics result = statistics;
  result.clear_timestamp();
  return result;
}

ContainerStatus checked(const ContainerStatus& status) {
  ContainerStatus result = status;
  result.clear_network_infos();
  // The agent knows it.
  result.clear_container_id();
  return result;
}

}  // namespace bpf
