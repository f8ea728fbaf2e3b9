// not in the VM: it asks no kernel anything
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePorts } from "../../isolator/features/ports.js";
import { findOverlap, parseLocalRange, parseReserved } from "../../isolator/features/reserved-ports.js";

const RANGE = "32768\t60999";

describe("findOverlap()", () => {
  const none = ["1-32767", "61000-65535", "31000-31005,61000"];
  for (const ports of none) {
    it(`finds none for ${ports}`, () => {
      assert.equal(findOverlap(parsePorts(ports), RANGE, ""), undefined);
    });
  }

  it("finds none without ports", () => {
    assert.equal(findOverlap([], RANGE, ""), undefined);
  });

  it("finds none where all of them are reserved, by several entries too", () => {
    assert.equal(findOverlap(parsePorts("33000-33010"), RANGE, "33000-33004,33005-33010"), undefined);
  });

  it("finds the ports at both ends of the range", () => {
    assert.deepEqual(findOverlap(parsePorts("32767-32768,60999-61000"), RANGE, ""), {
      ports: parsePorts("32768,60999"),
      fix: "sysctl -w net.ipv4.ip_local_reserved_ports=32767-32768,60999-61000",
    });
  });

  it("keeps what is reserved already, and merges it", () => {
    assert.deepEqual(findOverlap(parsePorts("33000-33010"), RANGE, "8080,33000-33004,33011"), {
      ports: parsePorts("33005-33010"),
      fix: "sysctl -w net.ipv4.ip_local_reserved_ports=8080,33000-33011",
    });
  });

  it("has no fix that would leave the kernel no port to choose", () => {
    assert.equal(findOverlap(parsePorts("1-65535"), RANGE, "")?.fix, null);
    assert.equal(findOverlap(parsePorts("32768-50000"), RANGE, "50001-60999")?.fix, null);
    assert.notEqual(findOverlap(parsePorts("32768-60998"), RANGE, "")?.fix, null);
  });
});

describe("parseReserved() and parseLocalRange()", () => {
  it("read what the kernel writes", () => {
    assert.deepEqual(parseReserved(""), []);
    assert.deepEqual(parseReserved("8080,9000-9002"), parsePorts("8080,9000-9002"));
    assert.deepEqual(parseReserved("0,5"), [{ begin: 5, end: 5 }]);
    assert.deepEqual(parseReserved("0-65535"), parsePorts("1-65535"));
    assert.deepEqual(parseLocalRange(RANGE), [{ begin: 32768, end: 60999 }]);
  });
});
