// The queue of what the daemon must hear. An item is delivered when the daemon has answered it. What it
// answers that it could not do is tried again beside the queue: the agent has gone on, and others' launches
// do not wait for it.
#include "outbox.hpp"

#include <set>

#include <process/defer.hpp>

#include <stout/stringify.hpp>

#include <glog/logging.h>

using bpf_isolator::Call;
using bpf_isolator::Response;
using mesos::ContainerID;
using process::defer;
using process::Future;
using process::Promise;
using process::UPID;
using std::string;

namespace bpf {

namespace {

const Duration RETRY_FIRST = Milliseconds(100);
const Duration RETRY_MOST = Seconds(2);
const Duration REFUSED_FIRST = Seconds(1);
const Duration REFUSED_MOST = Seconds(30);

// Items above which those that later ones of the same container replace are dropped: a daemon may be away for
// days.
constexpr size_t COMPACT_ABOVE = 1024;

// None: of no container.
Option<ContainerID> containerOf(const Call& call) {
  switch (call.type()) {
    case Call::UPDATE:
      return call.update().container_id();
    case Call::CLEANUP:
      return call.cleanup().container_id();
    default:
      return None();
  }
}

string describe(const Call& call) {
  const Option<ContainerID> containerId = containerOf(call);
  return Call::Type_Name(call.type()) +
         (containerId.isSome() ? " of container " + stringify(containerId.get()) : string());
}

// The daemon is there and has not looked at the call.
bool isBusy(const string& code) {
  return code == "overloaded" || code == "shutting-down" || code == "busy" || code == "request-timeout";
}

// Whether the same call may succeed later.
bool mayPass(const string& code) {
  return code != "bad-message" && code != "bad-argument" && code != "bad-container-id" &&
         code != "no-container" && code != "unknown-call" && code != "too-large" && code != "forbidden";
}

}  // namespace

Outbox::Outbox(const UPID& _owner, Client* _client, const Duration& _attemptTimeout)
    : owner(_owner), client(_client), attemptTimeout(_attemptTimeout), backoff(RETRY_FIRST, RETRY_MOST) {}

Future<Nothing> Outbox::push(const Call& call) {
  const Option<ContainerID> containerId = containerOf(call);
  if (containerId.isSome()) {
    // What was refused before is out of date.
    undone.erase(containerId.get());
  }
  items.push_back(Item{call, std::make_shared<Promise<Nothing>>()});
  const Future<Nothing> delivered = items.back().delivered->future();
  if (items.size() > COMPACT_ABOVE) {
    compact();
  }
  deliver();
  // Nobody's discard takes a call back.
  return process::undiscardable(delivered);
}

Future<Nothing> Outbox::delivered() {
  return items.empty() ? Nothing() : process::undiscardable(items.back().delivered->future());
}

void Outbox::hold(const ContainerID& containerId, const Future<Response>& call, const Duration& most) {
  // A daemon that has lost the call would hold up everything for ever.
  const Future<Response> bounded = call.after(most, [](Future<Response> lost) -> Future<Response> {
    lost.discard();
    return process::Failure("it did not answer in time");
  });
  held[containerId] = bounded;
  bounded.onAny(defer(owner, [this, containerId](const Future<Response>& ended) {
    if (held.contains(containerId) && held.at(containerId) == ended) {
      held.erase(containerId);
      deliver();
    }
  }));
}

void Outbox::deliver() {
  if (busy || items.empty()) {
    return;
  }
  const Option<ContainerID> containerId = containerOf(items.front().call);
  if (containerId.isSome() && held.contains(containerId.get())) {
    return;
  }
  busy = true;
  send();
}

void Outbox::send() {
  client->call(items.front().call)
      .after(attemptTimeout,
             [](Future<Response> call) -> Future<Response> {
               call.discard();
               return process::Failure("it did not answer in time");
             })
      .onAny(defer(owner, [this](const Future<Response>& answer) { answered(answer); }));
}

void Outbox::answered(const Future<Response>& answer) {
  const Call call = items.front().call;
  if (!answer.isReady()) {
    again(answer.isFailed() ? answer.failure() : "the call was broken off");
  } else if (answer->type() != Response::ERROR &&
             Response::Type_Name(answer->type()) != Call::Type_Name(call.type())) {
    again("it has answered with another call's answer");
  } else if (answer->type() != Response::ERROR) {
    const Option<ContainerID> containerId = containerOf(call);
    if (containerId.isSome()) {
      undone.erase(containerId.get());
    }
    if (lastError.isSome()) {
      LOG(INFO) << "bpf_isolator: " << describe(call) << " is delivered; " << items.size() - 1 << " to go";
    }
    done();
  } else if (isBusy(answer->error().code()) || call.type() == Call::RECOVER) {
    again(answer->error().message());
  } else {
    refused(call, answer->error());
    done();
  }
}

void Outbox::again(const string& why) {
  if (lastError.isNone()) {
    LOG(WARNING) << "bpf_isolator: " << describe(items.front().call)
                 << " is not delivered, and is tried again: " << why;
  }
  lastError = why;
  later(backoff.next(), owner, [this]() {
    // A call about the same container may have been given up meanwhile.
    busy = false;
    deliver();
  });
}

void Outbox::refused(const Call& call, const Response::Error& error) {
  const ContainerID containerId = containerOf(call).get();
  const bool retry = mayPass(error.code());
  LOG(WARNING) << "bpf_isolator: " << describe(call) << " was refused"
               << (retry ? ", and is tried again" : "") << ": " << error.message();
  if (!retry) {
    undone.erase(containerId);
    return;
  }
  if (!undone.contains(containerId)) {
    undone.put(containerId, Refused{0, Backoff(REFUSED_FIRST, REFUSED_MOST)});
  }
  Refused& refused = undone.at(containerId);
  const uint64_t number = refused.number = nextNumber++;
  later(refused.backoff.next(), owner, [this, containerId, number, call]() {
    if (!undone.contains(containerId) || undone.at(containerId).number != number) {
      return;
    }
    // Its backoff goes on.
    items.push_back(Item{call, std::make_shared<Promise<Nothing>>()});
    deliver();
  });
}

void Outbox::done() {
  lastError = None();
  backoff.reset();
  const Item item = items.front();
  items.pop_front();
  busy = false;
  item.delivered->set(Nothing());
  deliver();
}

void Outbox::compact() {
  std::set<string> updated;
  std::set<string> ended;
  // The first may be on its way.
  for (auto item = items.end(); --item != items.begin();) {
    const Option<ContainerID> containerId = containerOf(item->call);
    if (containerId.isNone()) {
      continue;
    }
    const string id = stringify(containerId.get());
    const bool update = item->call.type() == Call::UPDATE;
    const bool replaced = ended.count(id) > 0 || (update && updated.count(id) > 0);
    (update ? updated : ended).insert(id);
    if (!replaced) {
      continue;
    }
    // What waits for it waits for those behind it.
    const auto next = std::next(item);
    next->delivered->future().onReady(
        [delivered = item->delivered](const Nothing&) { delivered->set(Nothing()); });
    item = items.erase(item);
  }
}

}  // namespace bpf
