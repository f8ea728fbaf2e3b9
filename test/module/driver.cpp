// A program with libprocess in it that loads libbpf_isolator.so as an agent does and makes the calls that it
// is told to, so that tests can say which, in what order, and how many at once.
//
//   driver LIBRARY PARAMETERS
//
// PARAMETERS is Mesos's Parameters as JSON. On stdin a call a line, {"n": 1, "call": "prepare", "id": {...},
// "config": {...}} and the like, or {"discard": 1}; on stdout a line when one is done: {"n": 1, "ready":
// ...}, {"n": 1, "failed": "why"} or
// {"n": 1, "discarded": true}, each with the milliseconds that it took. Ends at the end of stdin.
#include <dlfcn.h>

#include <iostream>
#include <map>
#include <mutex>
#include <string>

#include <mesos/mesos.hpp>
#include <mesos/module/isolator.hpp>
#include <mesos/resources.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/type_utils.hpp>

#include <process/collect.hpp>
#include <process/future.hpp>
#include <process/process.hpp>

#include <stout/json.hpp>
#include <stout/protobuf.hpp>
#include <stout/stopwatch.hpp>
#include <stout/stringify.hpp>

using mesos::ContainerID;
using mesos::slave::Isolator;
using process::Future;
using std::string;

namespace {

std::mutex output;

void print(const JSON::Object& line) {
  std::lock_guard<std::mutex> lock(output);
  std::cout << stringify(line) << std::endl;
}

[[noreturn]] void die(const string& why) {
  std::cerr << why << std::endl;
  _exit(1);
}

template <typename T>
T get(const Try<T>& value) {
  if (value.isError()) {
    die(value.error());
  }
  return value.get();
}

// Without what is required and not there: statistics have no time of their own.
JSON::Value toJson(const google::protobuf::Message& message) {
  return JSON::Object(JSON::protobuf(message));
}

JSON::Value toJson(const Nothing&) {
  return JSON::Object();
}

template <typename T>
JSON::Value toJson(const Option<T>& value) {
  return value.isSome() ? toJson(value.get()) : JSON::Value(JSON::Object());
}

template <typename T>
T parse(const JSON::Object& line, const string& key) {
  return get(protobuf::parse<T>(get(Try<JSON::Value>(line.values.at(key)))));
}

// Whom to tell of a discard.
std::map<int, std::function<void()>> discards;

template <typename T>
void report(int n, Future<T> future, const Stopwatch& watch) {
  discards[n] = [future]() mutable { future.discard(); };
  future.onAny([n, watch](const Future<T>& done) {
    JSON::Object line;
    line.values["n"] = n;
    line.values["ms"] = watch.elapsed().ms();
    if (done.isReady()) {
      line.values["ready"] = toJson(done.get());
    } else if (done.isFailed()) {
      line.values["failed"] = done.failure();
    } else {
      line.values["discarded"] = true;
    }
    print(line);
  });
}

google::protobuf::RepeatedPtrField<mesos::Resource> resourcesOf(const JSON::Object& line) {
  const JSON::Array list = line.values.at("resources").as<JSON::Array>();
  return get(protobuf::parse<google::protobuf::RepeatedPtrField<mesos::Resource>>(list));
}

void recover(Isolator* isolator, int n, const JSON::Object& line) {
  std::vector<mesos::slave::ContainerState> states;
  for (const JSON::Value& state : line.values.at("states").as<JSON::Array>().values) {
    states.push_back(get(protobuf::parse<mesos::slave::ContainerState>(state)));
  }
  hashset<ContainerID> orphans;
  for (const JSON::Value& orphan : line.values.at("orphans").as<JSON::Array>().values) {
    orphans.insert(get(protobuf::parse<ContainerID>(orphan)));
  }
  Stopwatch watch;
  watch.start();
  report(n, isolator->recover(states, orphans), watch);
}

// As an agent asks for statistics; done when all are answered.
void usages(Isolator* isolator, int n, const JSON::Object& line) {
  std::vector<ContainerID> ids;
  for (const JSON::Value& id : line.values.at("ids").as<JSON::Array>().values) {
    ids.push_back(get(protobuf::parse<ContainerID>(id)));
  }
  Stopwatch watch;
  watch.start();
  std::vector<Future<mesos::ResourceStatistics>> all;
  for (const ContainerID& id : ids) {
    all.push_back(isolator->usage(id));
  }
  report(n, process::collect(all).then([](const std::vector<mesos::ResourceStatistics>& answers) {
    mesos::ResourceStatistics sum;
    for (const mesos::ResourceStatistics& answer : answers) {
      // Those that have figures.
      sum.set_net_rx_packets(sum.net_rx_packets() + (answer.has_net_rx_packets() ? 1 : 0));
    }
    return sum;
  }),
         watch);
}

void make(Isolator* isolator, const JSON::Object& line) {
  if (line.values.count("discard") > 0) {
    discards.at(line.values.at("discard").as<JSON::Number>().as<int>())();
    return;
  }
  const int n = line.values.at("n").as<JSON::Number>().as<int>();
  const string call = line.values.at("call").as<JSON::String>().value;
  if (call == "recover") {
    recover(isolator, n, line);
    return;
  }
  if (call == "usages") {
    usages(isolator, n, line);
    return;
  }
  const ContainerID id = parse<ContainerID>(line, "id");
  // What a call needs is read before its time begins: an agent has it.
  Stopwatch watch;
  if (call == "prepare") {
    const auto config = parse<mesos::slave::ContainerConfig>(line, "config");
    watch.start();
    report(n, isolator->prepare(id, config), watch);
    return;
  }
  if (call == "update") {
    const auto resources = resourcesOf(line);
    watch.start();
    report(n, isolator->update(id, resources, {}), watch);
    return;
  }
  watch.start();
  if (call == "isolate") {
    report(n, isolator->isolate(id, line.values.at("pid").as<JSON::Number>().as<int>()), watch);
  } else if (call == "watch") {
    report(n, isolator->watch(id), watch);
  } else if (call == "usage") {
    report(n, isolator->usage(id), watch);
  } else if (call == "status") {
    report(n, isolator->status(id), watch);
  } else if (call == "cleanup") {
    report(n, isolator->cleanup(id), watch);
  } else {
    die("there is no call " + call);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    die("usage: driver LIBRARY PARAMETERS");
  }
  process::initialize();
  void* library = dlopen(argv[1], RTLD_NOW);
  if (library == nullptr) {
    die(dlerror());
  }
  const auto* module = static_cast<mesos::modules::Module<Isolator>*>(dlsym(library, "bpf_isolator"));
  if (module == nullptr) {
    die(dlerror());
  }
  const JSON::Object parameters = get(JSON::parse<JSON::Object>(argv[2]));
  Isolator* isolator = module->create(get(protobuf::parse<mesos::Parameters>(parameters)));
  if (isolator == nullptr) {
    die("the module refuses its parameters");
  }
  JSON::Object facts;
  facts.values["nesting"] = isolator->supportsNesting();
  facts.values["standalone"] = isolator->supportsStandalone();
  facts.values["kind"] = string(module->kind);
  facts.values["mesos_version"] = string(module->mesosVersion);
  facts.values["port"] = process::address().port;
  facts.values["ip"] = stringify(process::address().ip);
  print(facts);
  string line;
  while (std::getline(std::cin, line)) {
    make(isolator, get(JSON::parse<JSON::Object>(line)));
  }
  delete isolator;
  // Nothing of libprocess is waited for.
  _exit(0);
}
