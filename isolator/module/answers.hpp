// What the daemon has answered, made safe for the agent: some messages would abort it or fail a launch
// without a word.
#pragma once

#include <string>

#include <mesos/mesos.hpp>
#include <mesos/slave/containerizer.hpp>
#include <mesos/slave/isolator.hpp>

#include <stout/option.hpp>

namespace bpf {

// A limitation as an agent can take it: with resources its reason has to be one of three, or the agent
// aborts; and resources have to be valid.
mesos::slave::ContainerLimitation checked(const mesos::slave::ContainerLimitation& limitation);

// Why an agent could not launch with this, or none.
Option<std::string> problemOf(const mesos::slave::ContainerLaunchInfo& launchInfo);

// With no capability that this process, an agent, could not give: its launcher would fail.
mesos::slave::ContainerLaunchInfo checked(const mesos::slave::ContainerLaunchInfo& launchInfo);

// Whether a container names that capability: with Mesos's linux/capabilities it has it, whatever other
// isolators say.
bool asksForNetRaw(const mesos::slave::ContainerConfig& config);

// Without the time of measuring, which would replace the agent's own.
mesos::ResourceStatistics checked(const mesos::ResourceStatistics& statistics);

// Without network_infos, which would replace the address that consumers of the task's status see.
mesos::ContainerStatus checked(const mesos::ContainerStatus& status);

}  // namespace bpf
