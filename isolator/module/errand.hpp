// Calls whose answer the agent waits for: PREPARE, ISOLATE, USAGE and STATUS, each with a deadline.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include <mesos/mesos.hpp>
#include <mesos/type_utils.hpp>

#include <process/future.hpp>
#include <process/pid.hpp>
#include <process/timer.hpp>

#include <stout/duration.hpp>
#include <stout/hashset.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

#include "bpf_isolator/isolator.pb.h"
#include "client.hpp"
#include "outbox.hpp"
#include "timing.hpp"

namespace bpf {

// Part of an actor, and used in its context only.
class Errands {
 public:
  // `socket`: for messages.
  Errands(const process::UPID& owner, Client* client, Outbox* outbox, const std::string& socket);

  // A step of a launch: tried again while there is no answer and time is left. Ready with an answer of the
  // call's type; fails with a message for the framework's user. `after`: what has to be done before.
  process::Future<bpf_isolator::Response> run(const mesos::ContainerID& containerId,
                                              const bpf_isolator::Call& call, const Duration& timeout,
                                              const process::Future<Nothing>& after);

  // Whether this container's PREPARE was given up before it could leave: the daemon does not know it. Forgets
  // it.
  bool takeUnsent(const mesos::ContainerID& containerId);

  // A question that nothing hangs on: not tried again but where the connection was an old one. Only some are
  // asked at once, so that a launch does not wait for them. Ready with the answer, which may be an error.
  process::Future<bpf_isolator::Response> query(const bpf_isolator::Call& call, const Duration& timeout);

 private:
  struct Errand {
    mesos::ContainerID containerId;
    bpf_isolator::Call call;
    Duration timeout;
    // Of a launch, or a question.
    bool launch;
    process::Promise<bpf_isolator::Response> promise;
    Option<process::Timer> deadline;
    // The attempt that is under way.
    Option<process::Future<bpf_isolator::Response>> attempt;
    size_t attempts = 0;
    Option<std::string> error;
    Backoff backoff;

    bool over() const { return !promise.future().isPending(); }
  };
  using Held = std::shared_ptr<Errand>;

  Held begin(const mesos::ContainerID& containerId, const bpf_isolator::Call& call, const Duration& timeout,
             bool launch);
  void attempt(const Held& errand);
  void attempted(const Held& errand, const process::Future<bpf_isolator::Response>& answer);
  void answered(const Held& errand, const bpf_isolator::Response& answer);
  void expired(const Held& errand);
  void giveUp(const Held& errand);
  void ask();
  void asked(const Held& errand);

  const process::UPID owner;
  Client* const client;
  Outbox* const outbox;
  const std::string socket;

  hashset<mesos::ContainerID> unsent;

  // Questions that wait for their turn.
  std::deque<Held> questions;
  size_t asking = 0;
};

}  // namespace bpf
