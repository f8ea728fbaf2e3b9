// HTTP with libprocess's own client.
#include "client.hpp"

#include <mesos/version.hpp>

#include <process/address.hpp>
#include <process/defer.hpp>
#include <process/loop.hpp>
#include <process/process.hpp>

#include <stout/duration.hpp>
#include <stout/stringify.hpp>

#include <glog/logging.h>

using bpf_isolator::Call;
using bpf_isolator::Response;
using process::Break;
using process::Continue;
using process::ControlFlow;
using process::defer;
using process::Failure;
using process::Future;
using process::UPID;
using process::http::Connection;
using process::http::Pipe;
using process::http::Request;
using std::shared_ptr;
using std::string;
using std::vector;

namespace http = process::http;

namespace bpf {

namespace {

const char PROTOBUF[] = "application/x-protobuf";
// The major version of the protocol.
const char PATH[] = "/api/v1";
// The newest within it that this module speaks.
constexpr uint32_t PROTOCOL_VERSION = 1;

constexpr size_t MAX_ANSWER = 16 * 1024 * 1024;
constexpr size_t MAX_RECORD = 1024 * 1024;
// More than a burst of launches leaves behind is closed.
constexpr size_t MAX_IDLE = 16;
const Duration HANDSHAKE_TIMEOUT = Seconds(5);

Request requestOf(const Call& call) {
  Request request;
  request.method = "POST";
  request.url = http::URL("http", "localhost", 80, PATH);
  request.keepAlive = true;
  request.headers["Content-Type"] = PROTOBUF;
  request.headers["Accept"] = PROTOBUF;
  request.body = call.SerializeAsString();
  return request;
}

// Reads all of it, but no more than MAX_ANSWER.
Future<string> readBody(Pipe::Reader reader) {
  const auto text = std::make_shared<string>();
  return process::loop(
      None(), [reader]() mutable { return reader.read(); },
      [reader, text](const string& data) mutable -> Future<ControlFlow<string>> {
        if (data.empty()) {
          return Break(std::move(*text));
        }
        *text += data;
        if (text->size() > MAX_ANSWER) {
          reader.close();
          return Failure("its answer is too long");
        }
        return Continue();
      });
}

Try<Response> decode(const string& text, const string& status) {
  Response response;
  if (!response.ParseFromString(text) || !response.has_type()) {
    return Error("its answer (HTTP " + status + ") is not one of bpf-isolator");
  }
  return response;
}

}  // namespace

Stream::Stream(const Connection& _connection, const Pipe::Reader& _reader, const shared_ptr<bool>& _left)
    : connection(_connection), reader(_reader), left(_left), decoder(new RecordDecoder(MAX_RECORD)) {}

Future<vector<Response>> Stream::next() {
  const shared_ptr<RecordDecoder> decoder = this->decoder;
  Pipe::Reader reader = this->reader;
  return process::loop(
      None(), [reader]() mutable { return reader.read(); },
      [decoder](const string& data) -> Future<ControlFlow<vector<Response>>> {
        vector<Response> responses;
        if (data.empty()) {
          return Break(std::move(responses));
        }
        const Try<vector<string>> records = decoder->push(data);
        if (records.isError()) {
          return Failure("its stream is not one of bpf-isolator: " + records.error());
        }
        for (const string& record : records.get()) {
          const Try<Response> response = decode(record, "200");
          if (response.isError()) {
            return Failure(response.error());
          }
          responses.push_back(response.get());
        }
        if (responses.empty()) {
          return Continue();
        }
        return Break(std::move(responses));
      });
}

void Stream::close() {
  connection.disconnect();
}

void Stream::leave() {
  *left = true;
  connection.disconnect();
}

Client::Client(const UPID& _owner, const string& _socket) : owner(_owner), socket(_socket) {}

Future<Response> Client::call(const Call& call) {
  return acquire().then(defer(owner, [this, call](const Link& link) -> Future<Response> {
    return exchange(link.connection, call).onReady(defer(owner, [this, link](const Response&) {
      release(link);
    }));
  }));
}

Future<Stream> Client::stream(const Call& call) {
  return connect().then(defer(owner, [call](const Link& link) -> Future<Stream> {
    Connection connection = link.connection;
    const shared_ptr<bool> left = link.left;
    Future<Stream> stream = connection.send(requestOf(call), true)
                                .then([connection, left](const http::Response& answer) -> Future<Stream> {
                                  if (answer.code == http::Status::OK && answer.reader.isSome()) {
                                    return Stream(connection, answer.reader.get(), left);
                                  }
                                  Connection useless = connection;
                                  useless.disconnect();
                                  return Failure("it answered with HTTP " + stringify(answer.code));
                                });
    stream.onDiscard([connection]() mutable { connection.disconnect(); });
    return stream;
  }));
}

Future<Client::Link> Client::acquire() {
  if (idle.empty()) {
    return connect();
  }
  const Link link = idle.back();
  idle.pop_back();
  return link;
}

Future<Client::Link> Client::connect() {
  const Try<process::network::unix::Address> address = process::network::unix::Address::create(socket);
  if (address.isError()) {
    return Failure(address.error());
  }
  return http::connect(address.get(), http::Scheme::HTTP)
      .then(defer(owner, [this](const Connection& connection) -> Future<Link> {
        const Link link{nextId++, connection, std::make_shared<bool>(false)};
        links++;
        // Not the link: this would keep its connection.
        Connection(connection)
            .disconnected()
            .onAny(defer(
                owner, [this, id = link.id, left = link.left](const Future<Nothing>&) { lost(id, *left); }));
        if (session.isNone()) {
          session = handshake(connection);
          session->onFailed(defer(owner, [this](const string&) { session = None(); }));
        }
        // Others wait for it too, whatever becomes of this call.
        return process::undiscardable(session.get()).then([link]() -> Future<Link> { return link; });
      }));
}

Future<Nothing> Client::handshake(Connection connection) {
  Call call;
  call.set_type(Call::HANDSHAKE);
  Call::Handshake* handshake = call.mutable_handshake();
  handshake->set_name("libbpf_isolator.so");
  handshake->set_version(BPF_ISOLATOR_VERSION);
  handshake->set_mesos_version(MESOS_VERSION);
  handshake->add_protocol_versions(PROTOCOL_VERSION);
  // Executors must reach the agent whatever their containers may not.
  const process::network::inet::Address agent = process::address();
  handshake->mutable_agent_address()->set_ip(stringify(agent.ip));
  handshake->mutable_agent_address()->set_port(agent.port);
  return exchange(connection, call)
      .after(HANDSHAKE_TIMEOUT,
             [](Future<Response> answer) -> Future<Response> {
               answer.discard();
               return Failure("it did not answer the handshake within " + stringify(HANDSHAKE_TIMEOUT));
             })
      .then(defer(owner, [this, connection](const Response& answer) mutable -> Future<Nothing> {
        if (answer.type() != Response::HANDSHAKE) {
          connection.disconnect();
          const bool refused = answer.type() == Response::ERROR;
          return Failure(refused ? "it refused the handshake: " + answer.error().message()
                                 : "its answer to the handshake is none");
        }
        LOG(INFO) << "bpf_isolator: " << answer.handshake().name() << " " << answer.handshake().version()
                  << " answers, pid " << answer.handshake().pid() << ", instance "
                  << answer.handshake().instance();
        features = {answer.handshake().features().begin(), answer.handshake().features().end()};
        return Nothing();
      }));
}

Future<Response> Client::exchange(Connection connection, const Call& call) {
  Future<Response> response =
      connection.send(requestOf(call), true).then([](const http::Response& answer) -> Future<Response> {
        if (answer.reader.isNone()) {
          return Failure("its answer has no body");
        }
        const string status = stringify(answer.code);
        return readBody(answer.reader.get()).then([status](const string& text) -> Future<Response> {
          const Try<Response> decoded = decode(text, status);
          if (decoded.isError()) {
            return Failure(decoded.error());
          }
          return decoded.get();
        });
      });
  // What is not read to its end makes the connection useless.
  response.onDiscard([connection]() mutable { connection.disconnect(); });
  response.onFailed([connection](const string&) mutable { connection.disconnect(); });
  return response;
}

void Client::lost(uint64_t id, bool left) {
  links--;
  // With none, nobody would see the daemon go.
  if (!left || links == 0) {
    session = None();
  }
  idle.remove_if([id](const Link& link) { return link.id == id; });
}

void Client::release(const Link& link) {
  if (idle.size() < MAX_IDLE) {
    idle.push_back(link);
  } else {
    // It ends with this, which says nothing of the daemon.
    *link.left = true;
  }
}

}  // namespace bpf
