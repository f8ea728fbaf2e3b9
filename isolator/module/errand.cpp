// Attempts at a call until its deadline.
#include "errand.hpp"

#include <process/defer.hpp>

#include <stout/stringify.hpp>

using bpf_isolator::Call;
using bpf_isolator::Response;
using mesos::ContainerID;
using process::defer;
using process::Future;
using process::UPID;
using std::string;

namespace bpf {

namespace {

const Duration RETRY_FIRST = Milliseconds(50);
const Duration RETRY_MOST = Seconds(1);
constexpr size_t MAX_ASKING = 32;
// One, and one more where the daemon has closed the connection meanwhile.
constexpr size_t QUESTION_ATTEMPTS = 2;

// The daemon is there and has not looked at the call.
bool isBusy(const Response::Error& error) {
  return error.code() == "overloaded" || error.code() == "shutting-down" || error.code() == "busy" ||
         error.code() == "request-timeout";
}

}  // namespace

Errands::Errands(const UPID& _owner, Client* _client, Outbox* _outbox, const string& _socket)
    : owner(_owner), client(_client), outbox(_outbox), socket(_socket) {}

Errands::Held Errands::begin(const ContainerID& containerId, const Call& call, const Duration& timeout,
                             bool launch) {
  Held errand(new Errand{
      containerId, call, timeout, launch, {}, None(), None(), 0, None(), Backoff(RETRY_FIRST, RETRY_MOST)});
  errand->deadline = later(timeout, owner, [this, errand]() { expired(errand); });
  const std::weak_ptr<Errand> weak = errand;
  errand->promise.future().onDiscard(defer(owner, [this, weak]() {
    const Held discarded = weak.lock();
    if (discarded && discarded->promise.discard()) {
      giveUp(discarded);
    }
  }));
  return errand;
}

Future<Response> Errands::run(const ContainerID& containerId, const Call& call, const Duration& timeout,
                              const Future<Nothing>& after) {
  unsent.erase(containerId);
  const Held errand = begin(containerId, call, timeout, true);
  const Future<Response> answer = errand->promise.future();
  if (after.isReady()) {
    attempt(errand);
  } else {
    after.onReady(defer(owner, [this, errand](const Nothing&) { attempt(errand); }));
  }
  return answer;
}

bool Errands::takeUnsent(const ContainerID& containerId) {
  return unsent.erase(containerId) > 0;
}

Future<Response> Errands::query(const Call& call, const Duration& timeout) {
  const Held errand = begin(ContainerID(), call, timeout, false);
  const Future<Response> answer = errand->promise.future();
  questions.push_back(errand);
  ask();
  return answer;
}

void Errands::attempt(const Held& errand) {
  if (errand->over()) {
    return;
  }
  errand->attempts++;
  const Future<Response> answer = client->call(errand->call);
  errand->attempt = answer;
  answer.onAny(defer(owner, [this, errand](const Future<Response>& ended) { attempted(errand, ended); }));
}

void Errands::attempted(const Held& errand, const Future<Response>& answer) {
  errand->attempt = None();
  if (!errand->launch) {
    asked(errand);
  }
  if (errand->over()) {
    return;
  }
  if (answer.isReady() && !(answer->type() == Response::ERROR && isBusy(answer->error()))) {
    answered(errand, answer.get());
    return;
  }
  errand->error = answer.isReady()    ? answer->error().message()
                  : answer.isFailed() ? answer.failure()
                                      : string("the call was broken off");
  if (errand->launch) {
    later(errand->backoff.next(), owner, [this, errand]() { attempt(errand); });
  } else if (errand->attempts < QUESTION_ATTEMPTS) {
    questions.push_front(errand);
    ask();
  } else {
    giveUp(errand);
    errand->promise.fail(errand->error.get());
  }
}

void Errands::answered(const Held& errand, const Response& answer) {
  giveUp(errand);
  const string what =
      Call::Type_Name(errand->call.type()) + " of container " + stringify(errand->containerId);
  if (!errand->launch) {
    errand->promise.set(answer);
  } else if (answer.type() == Response::ERROR) {
    errand->promise.fail("bpf-isolator: " + answer.error().message() + " (" + answer.error().code() + ")");
  } else if (Response::Type_Name(answer.type()) != Call::Type_Name(errand->call.type())) {
    errand->promise.fail("bpf-isolator at " + socket + " has answered " + what +
                         " with another call's answer");
  } else {
    errand->promise.set(answer);
  }
}

void Errands::expired(const Held& errand) {
  if (errand->over()) {
    return;
  }
  string why = "bpf-isolator at " + socket + " has not answered " + Call::Type_Name(errand->call.type()) +
               " of container " + stringify(errand->containerId) + " within " + stringify(errand->timeout);
  if (errand->attempts == 0 && errand->launch) {
    why += ": " + stringify(outbox->size()) + " earlier updates and cleanups are not delivered";
    errand->error = outbox->error();
  }
  if (errand->error.isSome()) {
    why += ": " + errand->error.get();
  }
  errand->promise.fail(why);
  giveUp(errand);
}

// Ends all that goes on for it. What the daemon may be at work on goes on there: the container's cleanup
// waits for it.
void Errands::giveUp(const Held& errand) {
  if (errand->deadline.isSome()) {
    process::Clock::cancel(errand->deadline.get());
    errand->deadline = None();
  }
  if (errand->attempts == 0 && errand->call.type() == Call::PREPARE) {
    unsent.insert(errand->containerId);
  }
  if (errand->attempt.isNone()) {
    return;
  }
  if (errand->launch) {
    // Other launches wait behind the cleanup for as long as this one had: half of it leaves them the rest.
    outbox->hold(errand->containerId, errand->attempt.get(), errand->timeout / 2);
  } else {
    errand->attempt->discard();
  }
}

void Errands::ask() {
  while (asking < MAX_ASKING && !questions.empty()) {
    const Held errand = questions.front();
    questions.pop_front();
    if (!errand->over()) {
      asking++;
      attempt(errand);
    }
  }
}

void Errands::asked(const Held& errand) {
  asking--;
  ask();
}

}  // namespace bpf
