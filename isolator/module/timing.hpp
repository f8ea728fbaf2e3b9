// Pauses on an actor.
#pragma once

#include <algorithm>

#include <process/clock.hpp>
#include <process/dispatch.hpp>
#include <process/pid.hpp>
#include <process/timer.hpp>

#include <stout/duration.hpp>

namespace bpf {

// Calls `f` on the actor, unless that has ended by then.
template <typename F>
process::Timer later(const Duration& duration, const process::UPID& actor, F f) {
  return process::Clock::timer(duration, [actor, f]() { process::dispatch(actor, f); });
}

// Growing pauses between attempts.
class Backoff {
 public:
  Backoff(const Duration& _first, const Duration& _most) : first(_first), most(_most), pause(_first) {}

  // The pause before the next attempt.
  Duration next() {
    const Duration now = pause;
    pause = std::min<Duration>(pause * 2, most);
    return now;
  }

  void reset() { pause = first; }

 private:
  Duration first;
  Duration most;
  Duration pause;
};

}  // namespace bpf
