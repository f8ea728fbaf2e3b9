// Questions that wait are asked together: those of one round of an agent are there before the first is sent.
#include "usages.hpp"

#include <process/defer.hpp>
#include <process/dispatch.hpp>

#include "answers.hpp"

using bpf_isolator::Call;
using bpf_isolator::Response;
using mesos::ContainerID;
using mesos::ResourceStatistics;
using process::defer;
using process::Future;
using process::UPID;

namespace bpf {

namespace {

const char FEATURE[] = "usage-of-many";
// Containers of one call: the daemon answers it within some ten milliseconds.
constexpr size_t MAX_BATCH = 256;
// With a daemon that is asked of one at a time there are more calls.
constexpr size_t MAX_BATCHES = 2;
constexpr size_t MAX_SINGLE = 32;

}  // namespace

Usages::Usages(const UPID& _owner, Client* _client, Errands* _errands, const Duration& _timeout)
    : owner(_owner), client(_client), errands(_errands), timeout(_timeout) {}

Future<ResourceStatistics> Usages::ask(const ContainerID& containerId) {
  const Held question(new Question{containerId, {}});
  waiting.push_back(question);
  const std::weak_ptr<Question> weak = question;
  question->promise.future().onDiscard([weak]() {
    const Held discarded = weak.lock();
    if (discarded) {
      discarded->promise.discard();
    }
  });
  if (!scheduled) {
    scheduled = true;
    // Behind the questions that this actor has not come to yet.
    process::dispatch(owner, [this]() {
      scheduled = false;
      send();
    });
  }
  return question->promise.future().after(timeout, [](Future<ResourceStatistics> late) {
    late.discard();
    return Future<ResourceStatistics>(ResourceStatistics());
  });
}

void Usages::send() {
  const size_t most = client->has(FEATURE) ? MAX_BATCHES : MAX_SINGLE;
  while (asking < most) {
    const Batch batch = next();
    if (batch->empty()) {
      return;
    }
    Call call;
    call.set_type(Call::USAGE);
    if (batch->size() == 1) {
      *call.mutable_usage()->mutable_container_id() = batch->front()->containerId;
    } else {
      for (const Held& question : *batch) {
        *call.mutable_usage()->add_container_ids() = question->containerId;
      }
    }
    asking++;
    errands->query(call, timeout).onAny(defer(owner, [this, batch](const Future<Response>& answer) {
      answered(batch, answer);
    }));
  }
}

// Without those that nobody waits for any more.
Usages::Batch Usages::next() {
  const size_t most = client->has(FEATURE) ? MAX_BATCH : 1;
  const Batch batch(new std::vector<Held>());
  while (batch->size() < most && !waiting.empty()) {
    if (waiting.front()->promise.future().isPending()) {
      batch->push_back(waiting.front());
    }
    waiting.pop_front();
  }
  return batch;
}

void Usages::answered(const Batch& batch, const Future<Response>& answer) {
  asking--;
  const bool usable = answer.isReady() && answer->type() == Response::USAGE;
  for (size_t i = 0; i < batch->size(); i++) {
    ResourceStatistics statistics;
    if (usable && batch->size() == 1 && answer->usage().has_statistics()) {
      statistics = answer->usage().statistics();
    } else if (usable && i < static_cast<size_t>(answer->usage().all_size())) {
      statistics = answer->usage().all(i);
    }
    batch->at(i)->promise.set(checked(statistics));
  }
  send();
}

}  // namespace bpf
