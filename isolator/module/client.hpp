// The daemon's socket: one pool of connections, the handshake, and one attempt at a call.
#pragma once

#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <process/future.hpp>
#include <process/http.hpp>
#include <process/pid.hpp>

#include <stout/nothing.hpp>
#include <stout/option.hpp>

#include "bpf_isolator/isolator.pb.h"
#include "recordio.hpp"

namespace bpf {

// The records of a WATCH.
class Stream {
 public:
  // `left`: of its connection.
  Stream(const process::http::Connection& connection, const process::http::Pipe::Reader& reader,
         const std::shared_ptr<bool>& left);

  // The records that have come since; none: it has ended. Fails when the connection breaks, and on garbage.
  process::Future<std::vector<bpf_isolator::Response>> next();

  // It is of no use any more, as its daemon may be.
  void close();

  // Nobody wants it any more. Says nothing of the daemon.
  void leave();

 private:
  process::http::Connection connection;
  process::http::Pipe::Reader reader;
  const std::shared_ptr<bool> left;
  const std::shared_ptr<RecordDecoder> decoder;
};

// Part of an actor, and used in its context only.
class Client {
 public:
  Client(const process::UPID& owner, const std::string& socket);

  // One attempt. Ready with the daemon's answer, which may be an error; failed when there was none. It has no
  // deadline of its own: discarding it drops the connection.
  process::Future<bpf_isolator::Response> call(const bpf_isolator::Call& call);

  // Ready when the daemon has heard of it. The same about deadlines. On a connection of its own: those that
  // are there are for calls, which a launch waits for.
  process::Future<Stream> stream(const bpf_isolator::Call& call);

  // Whether the daemon that answered last has said that it can do something beyond the protocol's version.
  bool has(const std::string& feature) const { return features.count(feature) > 0; }

 private:
  // A connection that ends when nobody has it any more.
  struct Link {
    uint64_t id;
    process::http::Connection connection;
    // Whether its end is this side's wish.
    std::shared_ptr<bool> left;
  };

  process::Future<Link> acquire();
  process::Future<Link> connect();
  process::Future<Nothing> handshake(process::http::Connection connection);
  process::Future<bpf_isolator::Response> exchange(process::http::Connection connection,
                                                   const bpf_isolator::Call& call);
  void lost(uint64_t id, bool left);
  void release(const Link& link);

  const process::UPID owner;
  const std::string socket;
  uint64_t nextId = 0;
  // Connections that there are.
  size_t links = 0;
  // Connections that nobody uses now, the one used last at the end.
  std::list<Link> idle;
  // The handshake that connections which are made now rely on. A lost connection may mean another daemon.
  Option<process::Future<Nothing>> session;
  std::set<std::string> features;
};

}  // namespace bpf
