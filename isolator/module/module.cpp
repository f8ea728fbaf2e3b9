// The symbol that the agent looks up: `bpf_isolator` of --isolation and modules.json. Here are the entry
// points of Mesos's Isolator; each hands its call to the actor behind calls.hpp at once, since an agent makes
// them on several threads and none of them may wait.
//
// The messages of the protocol are in a C++ namespace of the same name as the symbol, so their header is not
// included.
#include <string>
#include <vector>

#include <mesos/mesos.hpp>
#include <mesos/module/isolator.hpp>
#include <mesos/module/module.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/version.hpp>

#include <process/future.hpp>

#include <stout/hashset.hpp>
#include <stout/option.hpp>
#include <stout/try.hpp>

#include <glog/logging.h>

#include "calls.hpp"
#include "settings.hpp"

namespace {

using mesos::ContainerID;
using mesos::slave::ContainerConfig;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerState;
using process::Future;
using process::Owned;

class BpfIsolator : public mesos::slave::Isolator {
 public:
  explicit BpfIsolator(const bpf::Settings& settings) : calls(bpf::Calls::start(settings)) {}

  bool supportsNesting() override { return true; }

  bool supportsStandalone() override { return true; }

  Future<Nothing> recover(const std::vector<ContainerState>& states,
                          const hashset<ContainerID>& orphans) override {
    return calls->recover(states, orphans);
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId,
                                              const ContainerConfig& containerConfig) override {
    return calls->prepare(containerId, containerConfig);
  }

  Future<Nothing> isolate(const ContainerID& containerId, pid_t pid) override {
    return calls->isolate(containerId, pid);
  }

  Future<ContainerLimitation> watch(const ContainerID& containerId) override {
    return calls->watch(containerId);
  }

#if MESOS_MAJOR_VERSION_NUM > 1 || MESOS_MINOR_VERSION_NUM >= 10
  Future<Nothing> update(
      const ContainerID& containerId, const mesos::Resources& resourceRequests,
      const google::protobuf::Map<std::string, mesos::Value::Scalar>& resourceLimits) override {
    return calls->update(containerId, resourceRequests, resourceLimits);
  }
#else
  // Limits of their own came with 1.10.
  Future<Nothing> update(const ContainerID& containerId, const mesos::Resources& resources) override {
    return calls->update(containerId, resources, {});
  }
#endif

  Future<mesos::ResourceStatistics> usage(const ContainerID& containerId) override {
    return calls->usage(containerId);
  }

  Future<mesos::ContainerStatus> status(const ContainerID& containerId) override {
    return calls->status(containerId);
  }

  Future<Nothing> cleanup(const ContainerID& containerId) override {
    return calls->cleanup(containerId);
  }

 private:
  const Owned<bpf::Calls> calls;
};

mesos::slave::Isolator* create(const mesos::Parameters& parameters) {
  const Try<bpf::Settings> settings = bpf::Settings::parse(parameters);
  if (settings.isError()) {
    LOG(ERROR) << "bpf_isolator: wrong parameters in modules.json: " << settings.error();
    return nullptr;
  }
  return new BpfIsolator(settings.get());
}

}  // namespace

// No `compatible` function: an agent then takes a module of its own version only, which the messages' memory
// layout needs anyway.
mesos::modules::Module<mesos::slave::Isolator> bpf_isolator(
    MESOS_MODULE_API_VERSION, MESOS_VERSION, "bpf-isolator", "maintainers@bpf-isolator.invalid",
    "Isolates ports, connections and traffic of containers by cgroup v2 and BPF, with the bpf-isolator "
    "daemon",
    nullptr, create);
