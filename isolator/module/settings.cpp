// Parses and checks the parameters of the module.
#include "settings.hpp"

#include <map>
#include <set>

#include <sys/un.h>

#include <stout/numify.hpp>
#include <stout/stringify.hpp>
#include <stout/strings.hpp>

using std::map;
using std::set;
using std::string;

namespace bpf {

namespace {

// Both waits of a launch together stay below the agent's --executor_registration_timeout (1 minute unless
// given): an agent that gives a launch up while an isolator still works on it never tells anybody of its end.
const Duration MOST_OF_A_LAUNCH = Seconds(50);

struct DurationKey {
  Duration Settings::*field;
  Duration least;
  Duration most;
};

const map<string, DurationKey>& durations() {
  static const map<string, DurationKey>* keys = new map<string, DurationKey>{
      {"timeout_prepare", {&Settings::prepareTimeout, Milliseconds(100), Seconds(40)}},
      {"timeout_isolate", {&Settings::isolateTimeout, Milliseconds(100), Seconds(40)}},
      {"timeout_update", {&Settings::updateTimeout, Milliseconds(1), Seconds(5)}},
      {"timeout_usage", {&Settings::usageTimeout, Milliseconds(1), Seconds(1)}},
      {"timeout_delivery", {&Settings::deliveryTimeout, Seconds(1), Minutes(10)}},
      {"startup_timeout", {&Settings::startupTimeout, Milliseconds(100), Hours(1)}},
  };
  return *keys;
}

string knownKeys() {
  string keys = "socket, fail_open";
  for (const auto& entry : durations()) {
    keys += ", " + entry.first;
  }
  return keys;
}

Option<Error> setDuration(Settings* settings, const string& key, const DurationKey& known,
                          const string& value) {
  Try<Duration> duration = Duration::parse(value);
  if (duration.isError() || duration.get() < known.least || duration.get() > known.most) {
    return Error(key + " is '" + value + "': give a duration from " + stringify(known.least) + " to " +
                 stringify(known.most) + ", as in 10secs or 500ms");
  }
  settings->*known.field = duration.get();
  return None();
}

Option<Error> set_(Settings* settings, const string& key, const string& value) {
  if (key == "socket") {
    // One byte of sun_path ends it.
    if (!strings::startsWith(value, "/") || value.size() >= sizeof(sockaddr_un::sun_path)) {
      return Error("socket is '" + value + "': give the absolute path of the daemon's socket, of at most " +
                   stringify(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
    }
    settings->socket = value;
    return None();
  }
  if (key == "fail_open") {
    if (value != "true" && value != "false") {
      return Error("fail_open is '" + value + "': give true or false");
    }
    settings->failOpen = value == "true";
    return None();
  }
  const auto known = durations().find(key);
  if (known == durations().end()) {
    return Error("'" + key + "' is not known: the parameters are " + knownKeys());
  }
  return setDuration(settings, key, known->second, value);
}

}  // namespace

Try<Settings> Settings::parse(const mesos::Parameters& parameters) {
  Settings settings;
  set<string> seen;
  for (const mesos::Parameter& parameter : parameters.parameter()) {
    if (!seen.insert(parameter.key()).second) {
      return Error("'" + parameter.key() + "' is given twice");
    }
    const Option<Error> error = set_(&settings, parameter.key(), parameter.value());
    if (error.isSome()) {
      return error.get();
    }
  }
  if (settings.prepareTimeout + settings.isolateTimeout > MOST_OF_A_LAUNCH) {
    return Error("timeout_prepare and timeout_isolate are more than " + stringify(MOST_OF_A_LAUNCH) +
                 " together: the agent's executor registration timeout would come first");
  }
  return settings;
}

}  // namespace bpf
