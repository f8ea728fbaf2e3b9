// The parameters of the module, as modules.json gives them.
#pragma once

#include <string>

#include <mesos/mesos.hpp>

#include <stout/duration.hpp>
#include <stout/try.hpp>

namespace bpf {

// README.md, "Parameters", is the user's side.
struct Settings {
  // Absolute path of the daemon's unix socket.
  std::string socket = "/run/bpf-isolator/default/isolator.sock";

  // What a launch may wait for the daemon; after that it fails.
  Duration prepareTimeout = Seconds(10);
  Duration isolateTimeout = Seconds(10);

  // What update() may wait until the daemon has it; after that it answers ok and the update stays queued.
  Duration updateTimeout = Seconds(1);

  // What usage() may wait; after that it answers with no statistics.
  Duration usageTimeout = Seconds(1);

  // One attempt to deliver what is queued. The queue is tried for ever.
  Duration deliveryTimeout = Seconds(60);

  // What recover() may wait for the daemon.
  Duration startupTimeout = Seconds(60);

  // Whether an agent starts all the same when the daemon has not answered by then.
  bool failOpen = false;

  // Fails with the key, and what it has to be. Keys that are not known are refused.
  static Try<Settings> parse(const mesos::Parameters& parameters);
};

}  // namespace bpf
