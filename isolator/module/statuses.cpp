// Recovered containers are asked for until each is known: a session that is launched before that would keep
// what its container has lost.
#include "statuses.hpp"

#include <process/defer.hpp>

#include <stout/stringify.hpp>

#include "answers.hpp"

using bpf_isolator::Call;
using bpf_isolator::Response;
using mesos::ContainerID;
using mesos::ContainerStatus;
using mesos::slave::ContainerLaunchInfo;
using process::defer;
using process::Failure;
using process::Future;
using process::Promise;
using process::UPID;
using std::string;

namespace bpf {

namespace {

const Duration RETRY_FIRST = Milliseconds(200);
const Duration RETRY_MOST = Seconds(5);

}  // namespace

Statuses::Statuses(const UPID& _owner, Errands* _errands, const string& _socket, const Duration& _timeout)
    : owner(_owner), errands(_errands), socket(_socket), timeout(_timeout) {}

void Statuses::expect(const ContainerID& containerId) {
  expected.put(containerId, std::make_shared<Promise<Nothing>>());
}

void Statuses::ask(const ContainerID& containerId) {
  const Option<Expected> answered = expected.get(containerId);
  if (answered.isSome()) {
    attempt(containerId, answered.get(), Backoff(RETRY_FIRST, RETRY_MOST));
  }
}

void Statuses::setStatus(const ContainerID& containerId, const ContainerStatus& status) {
  statuses[containerId] = checked(status);
}

void Statuses::setSession(const ContainerID& containerId, const ContainerLaunchInfo& launchInfo) {
  sessions[containerId] = launchInfo;
}

ContainerStatus Statuses::status(const ContainerID& containerId) const {
  return statuses.get(containerId).getOrElse(ContainerStatus());
}

Future<Option<ContainerLaunchInfo>> Statuses::session(const ContainerID& containerId) {
  if (!expected.contains(containerId)) {
    return sessions.get(containerId);
  }
  const string why = "bpf-isolator at " + socket + " has not answered STATUS of container " +
                     stringify(containerId) + " within " + stringify(timeout) +
                     ": what a session in it may do is not known before that";
  // Others wait for it too, whatever becomes of this one.
  return process::undiscardable(expected.at(containerId)->future())
      .after(timeout, [why](const Future<Nothing>&) -> Future<Nothing> { return Failure(why); })
      .then(defer(owner, [this, containerId](const Nothing&) -> Future<Option<ContainerLaunchInfo>> {
        return sessions.get(containerId);
      }));
}

void Statuses::remove(const ContainerID& containerId) {
  statuses.erase(containerId);
  sessions.erase(containerId);
  const Option<Expected> answered = expected.get(containerId);
  if (answered.isSome()) {
    expected.erase(containerId);
    answered.get()->fail("bpf-isolator: container " + stringify(containerId) + " has ended");
  }
}

void Statuses::attempt(const ContainerID& containerId, const Expected& answered, Backoff backoff) {
  if (!isExpected(containerId, answered)) {
    return;
  }
  Call call;
  call.set_type(Call::STATUS);
  *call.mutable_status()->mutable_container_id() = containerId;
  errands->query(call, timeout)
      .onAny(defer(owner, [this, containerId, answered, backoff](const Future<Response>& answer) {
        attempted(containerId, answered, backoff, answer);
      }));
}

void Statuses::attempted(const ContainerID& containerId, const Expected& answered, Backoff backoff,
                         const Future<Response>& answer) {
  // Nothing of a container that was cleaned up meanwhile is kept.
  if (!isExpected(containerId, answered)) {
    return;
  }
  if (!answer.isReady() || answer->type() != Response::STATUS) {
    const Duration pause = backoff.next();
    later(pause, owner,
          [this, containerId, answered, backoff]() { attempt(containerId, answered, backoff); });
    return;
  }
  if (answer->status().has_status()) {
    setStatus(containerId, answer->status().status());
  }
  if (answer->status().has_session_launch_info() &&
      problemOf(answer->status().session_launch_info()).isNone()) {
    setSession(containerId, checked(answer->status().session_launch_info()));
  }
  expected.erase(containerId);
  answered->set(Nothing());
}

// Not where it was cleaned up, or is another by the same id.
bool Statuses::isExpected(const ContainerID& containerId, const Expected& answered) const {
  return expected.contains(containerId) && expected.at(containerId) == answered;
}

}  // namespace bpf
