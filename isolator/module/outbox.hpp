// What the daemon must hear though the agent does not wait for it: RECOVER, UPDATE and CLEANUP, in the order
// of the calls, tried until it has them.
#pragma once

#include <list>
#include <memory>
#include <string>

#include <mesos/mesos.hpp>
#include <mesos/type_utils.hpp>

#include <process/future.hpp>
#include <process/pid.hpp>

#include <stout/duration.hpp>
#include <stout/hashmap.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

#include "bpf_isolator/isolator.pb.h"
#include "client.hpp"
#include "timing.hpp"

namespace bpf {

// Part of an actor, and used in its context only.
class Outbox {
 public:
  // `attemptTimeout`: of one attempt.
  Outbox(const process::UPID& owner, Client* client, const Duration& attemptTimeout);

  // Ready when the daemon has answered. Never fails.
  process::Future<Nothing> push(const bpf_isolator::Call& call);

  // Ready when all that is queued now is delivered.
  process::Future<Nothing> delivered();

  // Nothing about this container is delivered before `call` has ended: the daemon may not have read it yet,
  // and calls on two connections have no order. What it has read it does one after the other for each
  // container. After `most` the call is broken off.
  void hold(const mesos::ContainerID& containerId, const process::Future<bpf_isolator::Response>& call,
            const Duration& most);

  size_t size() const { return items.size(); }

  // Why the last attempt failed.
  const Option<std::string>& error() const { return lastError; }

 private:
  struct Item {
    bpf_isolator::Call call;
    std::shared_ptr<process::Promise<Nothing>> delivered;
  };

  void deliver();
  void send();
  void answered(const process::Future<bpf_isolator::Response>& answer);
  void again(const std::string& why);
  void refused(const bpf_isolator::Call& call, const bpf_isolator::Response::Error& error);
  void done();
  void compact();

  const process::UPID owner;
  Client* const client;
  const Duration attemptTimeout;

  std::list<Item> items;
  // Whether the first item is being sent, or waits for its next attempt.
  bool busy = false;
  Backoff backoff;
  Option<std::string> lastError;
  hashmap<mesos::ContainerID, process::Future<bpf_isolator::Response>> held;

  // Updates and cleanups that the daemon has answered and could not do: the newest of each container, by a
  // number that tells it from those before.
  struct Refused {
    uint64_t number;
    Backoff backoff;
  };
  hashmap<mesos::ContainerID, Refused> undone;
  uint64_t nextNumber = 0;
};

}  // namespace bpf
