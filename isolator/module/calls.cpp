// The actor behind Mesos's Isolator interface.
#include "calls.hpp"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <mesos/type_utils.hpp>

#include <process/defer.hpp>
#include <process/dispatch.hpp>
#include <process/id.hpp>
#include <process/process.hpp>

#include <stout/stringify.hpp>

#include <glog/logging.h>

#include "answers.hpp"
#include "client.hpp"
#include "errand.hpp"
#include "outbox.hpp"
#include "statuses.hpp"
#include "usages.hpp"
#include "watches.hpp"

using bpf_isolator::Call;
using bpf_isolator::Response;
using mesos::ContainerID;
using mesos::ContainerStatus;
using mesos::Resources;
using mesos::ResourceStatistics;
using mesos::slave::ContainerConfig;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerState;
using process::defer;
using process::dispatch;
using process::Failure;
using process::Future;
using process::Owned;
using std::shared_ptr;
using std::string;
using std::vector;

using Limits = google::protobuf::Map<string, mesos::Value::Scalar>;

namespace bpf {

namespace {

class CallsProcess : public process::Process<CallsProcess> {
 public:
  explicit CallsProcess(const Settings& _settings)
      : ProcessBase(process::ID::generate("bpf-isolator")),
        settings(_settings),
        client(self(), settings.socket),
        outbox(self(), &client, settings.deliveryTimeout),
        watches(self(), &client),
        errands(self(), &client, &outbox, settings.socket),
        usages(self(), &client, &errands, settings.usageTimeout),
        statuses(self(), &errands, settings.socket, settings.prepareTimeout) {}

  Future<Nothing> recover(const vector<ContainerState>& states, const hashset<ContainerID>& orphans);
  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId, const ContainerConfig& config);
  Future<Nothing> isolate(const ContainerID& containerId, pid_t pid);
  Future<ContainerLimitation> watch(const ContainerID& containerId);
  Future<Nothing> update(const ContainerID& containerId, const Resources& requests, const Limits& limits);
  Future<ResourceStatistics> usage(const ContainerID& containerId);
  Future<ContainerStatus> status(const ContainerID& containerId);
  Future<Nothing> cleanup(const ContainerID& containerId);

 private:
  Future<Option<ContainerLaunchInfo>> prepareSession(const ContainerID& containerId,
                                                     const ContainerConfig& config);

  const Settings settings;
  Client client;
  Outbox outbox;
  Watches watches;
  Errands errands;
  Usages usages;
  Statuses statuses;

  // Sessions and checks, which run in their parent's node: the daemon is told of their process and of nothing
  // else.
  hashset<ContainerID> debugging;
};

Future<Nothing> CallsProcess::recover(const vector<ContainerState>& states,
                                      const hashset<ContainerID>& orphans) {
  Call call;
  call.set_type(Call::RECOVER);
  // Present also when it is empty: the daemon may have containers of an agent that is no more.
  Call::Recover* recover = call.mutable_recover();
  for (const ContainerState& state : states) {
    statuses.expect(state.container_id());
    *recover->add_states() = state;
  }
  for (const ContainerID& orphan : orphans) {
    *recover->add_orphans() = orphan;
  }
  // An agent that goes on without an answer sends it when the daemon is there, before everything else.
  const Future<Nothing> delivered = outbox.push(call);
  delivered.onReady(defer(self(), [this, states](const Nothing&) {
    for (const ContainerState& state : states) {
      statuses.ask(state.container_id());
    }
  }));
  return delivered.after(
      settings.startupTimeout, defer(self(), [this](const Future<Nothing>&) -> Future<Nothing> {
        const string why = "bpf-isolator at " + settings.socket + " has not answered within " +
                           stringify(settings.startupTimeout) + " (" +
                           outbox.error().getOrElse("it takes its time") + ")";
        if (settings.failOpen) {
          LOG(WARNING) << "bpf_isolator: " << why
                       << ": the agent starts without it, and containers that run keep "
                       << "the policy that the kernel has; none is launched before it answers";
          return Nothing();
        }
        return Failure(why + ": start it, see its log, or set the parameter fail_open");
      }));
}

Future<Option<ContainerLaunchInfo>> CallsProcess::prepare(const ContainerID& containerId,
                                                          const ContainerConfig& config) {
  if (containerId.has_parent() && config.container_class() == mesos::slave::ContainerClass::DEBUG) {
    debugging.insert(containerId);
    return prepareSession(containerId, config);
  }
  Call call;
  call.set_type(Call::PREPARE);
  *call.mutable_prepare()->mutable_container_id() = containerId;
  *call.mutable_prepare()->mutable_container_config() = config;
  return errands.run(containerId, call, settings.prepareTimeout, outbox.delivered())
      .then(defer(self(), [this, containerId](const Response& answer) -> Future<Option<ContainerLaunchInfo>> {
        if (answer.prepare().has_status()) {
          statuses.setStatus(containerId, answer.prepare().status());
        }
        if (!answer.prepare().has_launch_info()) {
          return None();
        }
        const Option<string> problem = problemOf(answer.prepare().launch_info());
        if (problem.isSome()) {
          return Failure("bpf-isolator answered PREPARE of container " + stringify(containerId) + " with a " +
                         problem.get() + ", which no isolator may give: is it of another version?");
        }
        const ContainerLaunchInfo launchInfo = checked(answer.prepare().launch_info());
        statuses.setSession(containerId, launchInfo);
        return launchInfo;
      }));
}

Future<Option<ContainerLaunchInfo>> CallsProcess::prepareSession(const ContainerID& containerId,
                                                                 const ContainerConfig& config) {
  // The container that a session in a session runs in.
  ContainerID home = containerId.parent();
  while (home.has_parent() && debugging.contains(home)) {
    home = ContainerID(home.parent());
  }
  const bool asks = asksForNetRaw(config);
  return statuses.session(home).then(
      [containerId,
       asks](const Option<ContainerLaunchInfo>& launchInfo) -> Future<Option<ContainerLaunchInfo>> {
        if (launchInfo.isSome() && asks) {
          return Failure("bpf-isolator: container " + stringify(containerId) +
                         " asks for the capability NET_RAW, " +
                         "which the container that it runs in does not have");
        }
        return launchInfo;
      });
}

Future<Nothing> CallsProcess::isolate(const ContainerID& containerId, pid_t pid) {
  Call call;
  call.set_type(Call::ISOLATE);
  *call.mutable_isolate()->mutable_container_id() = containerId;
  call.mutable_isolate()->set_pid(pid);
  return errands.run(containerId, call, settings.isolateTimeout, Nothing()).then([]() { return Nothing(); });
}

Future<ContainerLimitation> CallsProcess::watch(const ContainerID& containerId) {
  return debugging.contains(containerId) ? watches.addSilent(containerId) : watches.add(containerId);
}

Future<Nothing> CallsProcess::update(const ContainerID& containerId, const Resources& requests,
                                     const Limits& limits) {
  Call call;
  call.set_type(Call::UPDATE);
  *call.mutable_update()->mutable_container_id() = containerId;
  for (const mesos::Resource& resource : requests) {
    *call.mutable_update()->add_resource_requests() = resource;
  }
  *call.mutable_update()->mutable_resource_limits() = limits;
  // A new task may bind its ports as soon as this answers, so the daemon gets a moment.
  return outbox.push(call).after(settings.updateTimeout,
                                 [](const Future<Nothing>&) -> Future<Nothing> { return Nothing(); });
}

Future<ResourceStatistics> CallsProcess::usage(const ContainerID& containerId) {
  if (debugging.contains(containerId)) {
    return ResourceStatistics();
  }
  return usages.ask(containerId);
}

Future<ContainerStatus> CallsProcess::status(const ContainerID& containerId) {
  return statuses.status(containerId);
}

Future<Nothing> CallsProcess::cleanup(const ContainerID& containerId) {
  watches.remove(containerId);
  statuses.remove(containerId);
  if (debugging.contains(containerId)) {
    debugging.erase(containerId);
    return Nothing();
  }
  // With the daemon away each launch that fails would make the queue longer.
  if (errands.takeUnsent(containerId)) {
    return Nothing();
  }
  Call call;
  call.set_type(Call::CLEANUP);
  *call.mutable_cleanup()->mutable_container_id() = containerId;
  outbox.push(call);
  return Nothing();
}

// Hands each call to the actor.
class ActorCalls : public Calls {
 public:
  explicit ActorCalls(const Settings& settings) : process(new CallsProcess(settings)) {
    spawn(process.get());
  }

  ~ActorCalls() override {
    terminate(process.get());
    wait(process.get());
  }

  Future<Nothing> recover(const vector<ContainerState>& states,
                          const hashset<ContainerID>& orphans) override {
    return dispatch(process.get(), &CallsProcess::recover, states, orphans);
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId,
                                              const ContainerConfig& config) override {
    return dispatch(process.get(), &CallsProcess::prepare, containerId, config);
  }

  Future<Nothing> isolate(const ContainerID& containerId, pid_t pid) override {
    return dispatch(process.get(), &CallsProcess::isolate, containerId, pid);
  }

  Future<ContainerLimitation> watch(const ContainerID& containerId) override {
    return dispatch(process.get(), &CallsProcess::watch, containerId);
  }

  Future<Nothing> update(const ContainerID& containerId, const Resources& requests,
                         const Limits& limits) override {
    return dispatch(process.get(), &CallsProcess::update, containerId, requests, limits);
  }

  Future<ResourceStatistics> usage(const ContainerID& containerId) override {
    return dispatch(process.get(), &CallsProcess::usage, containerId);
  }

  Future<ContainerStatus> status(const ContainerID& containerId) override {
    return dispatch(process.get(), &CallsProcess::status, containerId);
  }

  Future<Nothing> cleanup(const ContainerID& containerId) override {
    return dispatch(process.get(), &CallsProcess::cleanup, containerId);
  }

 private:
  const Owned<CallsProcess> process;
};

}  // namespace

Owned<Calls> Calls::start(const Settings& settings) {
  return Owned<Calls>(new ActorCalls(settings));
}

}  // namespace bpf
