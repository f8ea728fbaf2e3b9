/**
 * Backends of a set in the kernel. Each has a place of its own in service_backends, by whose number slots name it. All
 * sets share the places, and several processes may add to them: a place is had by who adds its number to
 * service_places, and one that nobody looks after is found there.
 */
import { randomInt } from "node:crypto";
import {
  decodeBackend,
  decodePlace,
  decodeServiceKey,
  encodeBackend,
  encodeServiceKey,
  NS_PER_S,
  SERVICE_BACKEND_SIZE,
  SERVICE_KEY_SIZE,
  SERVICE_PLACES,
  type BackendCounts,
} from "../features/service-layout.js";
import { DEFAULT_AVOID, formatEnd, SHARED_SET, type Backend, type Service } from "../features/services.js";
import { IsolatorError } from "../errors.js";
import { u32Key } from "./codec.js";
import type { ServiceMaps } from "./service-maps.js";

/** Places that are read in one call. */
const AT_ONCE = 4_096;

interface Place {
  number: number;
  key: Uint8Array;
  avoid: number;
  /** How many services have it. */
  users: number;
}

export class ServicePlaces {
  /** By the text of the backend. */
  private readonly known = new Map<string, Place>();
  /** Places that slots may still name. */
  private left: { number: number; since: number }[] = [];
  private next: number;

  constructor(
    private readonly maps: ServiceMaps,
    private readonly set: bigint,
  ) {
    // Those of a daemon side by side, so that all are read at once; others where they hardly meet.
    this.next = set === SHARED_SET ? 0 : randomInt(SERVICE_PLACES);
  }

  /**
   * One more service has the backend.
   * @returns its place
   * @throws map-full, map-failed
   */
  use({ protocol, avoid = DEFAULT_AVOID }: Service, backend: Backend): number {
    const text = formatEnd({ ...backend, protocol });
    const place = this.known.get(text) ?? this.find(text, { ...backend, protocol }, avoid);
    if (place.avoid !== avoid) this.write(place, backend, avoid);
    place.users++;
    return place.number;
  }

  /** @returns whether that was the last service that had it */
  leave(protocol: Service["protocol"], backend: Backend): boolean {
    const text = formatEnd({ ...backend, protocol });
    const place = this.known.get(text);
    if (!place || --place.users > 0) return false;
    this.known.delete(text);
    this.maps.map("service_ends").delete(place.key);
    this.left.push({ number: place.number, since: performance.now() });
    return true;
  }

  /** @param text of a backend (formatEnd()) */
  has(text: string): boolean {
    return this.known.has(text);
  }

  /** What programs have counted of it, whichever process has added it. */
  counts(protocol: Service["protocol"], backend: Backend): BackendCounts | undefined {
    const end = { ...backend, protocol };
    const place = this.known.get(formatEnd(end))?.number ?? this.placeOf(encodeServiceKey(this.set, end));
    const value = place === undefined ? place : this.maps.map("service_backends").lookup(u32Key(place));
    return value && decodeBackend(value);
  }

  /** Reads many in few calls. @returns the value of service_backends at a place, good for this turn of the event loop */
  reader(): (place: number) => Uint8Array {
    const map = this.maps.map("service_backends");
    const pieces = new Map<number, Uint8Array>();
    return (place) => {
      const piece = Math.floor(place / AT_ONCE);
      const values = pieces.get(piece) ?? map.lookupRange(piece * AT_ONCE, AT_ONCE);
      pieces.set(piece, values);
      return values.subarray((place % AT_ONCE) * SERVICE_BACKEND_SIZE);
    };
  }

  /** Gives back the places that were left a while ago. @param grace ms @returns whether there are others */
  giveBack(grace: number): boolean {
    const now = performance.now();
    this.left = this.left.filter(({ number, since }) => {
      if (now - since < grace) return true;
      this.maps.map("service_places").delete(u32Key(number));
      return false;
    });
    return this.left.length > 0;
  }

  /** Removes what an earlier process has left in this set and this one has not. @returns whether a backend is gone */
  forgetOthers(): boolean {
    const ends = this.maps.map("service_ends");
    let gone = false;
    for (const key of ends.keys(SERVICE_KEY_SIZE)) {
      const end = decodeServiceKey(key);
      if (end.set === this.set && !this.known.has(formatEnd(end))) gone = ends.delete(key) || gone;
    }
    const places = this.maps.map("service_places");
    const mine = new Set([...[...this.known.values()], ...this.left].map(({ number }) => number));
    for (const number of places.keys(4)) {
      const key = places.lookup(number);
      if (key && decodeServiceKey(key).set === this.set && !mine.has(decodePlace(number)))
        places.delete(number);
    }
    return gone;
  }

  /** As if it had never had any: for forgetOthers(). */
  clear(): void {
    this.known.clear();
    this.left = [];
  }

  /** What another process has left, or a new one. */
  private find(text: string, end: Backend & Pick<Service, "protocol">, avoid: number): Place {
    const key = encodeServiceKey(this.set, end);
    const there = this.placeOf(key);
    const place = { key, users: 0, avoid, number: there ?? this.claim(key) };
    try {
      this.write(place, end, avoid, there !== undefined);
      if (there === undefined) this.maps.map("service_ends").update(key, u32Key(place.number));
    } catch (error) {
      if (there === undefined) this.maps.map("service_places").delete(u32Key(place.number));
      throw error;
    }
    this.known.set(text, place);
    return place;
  }

  private placeOf(key: Uint8Array): number | undefined {
    const place = this.maps.map("service_ends").lookup(key);
    return place && decodePlace(place);
  }

  private claim(key: Uint8Array): number {
    const map = this.maps.map("service_places");
    for (let tries = 0; tries < SERVICE_PLACES; tries++) {
      const number = this.next;
      this.next = (number + 1) % SERVICE_PLACES;
      if (map.add(u32Key(number), key)) return number;
    }
    throw new IsolatorError(
      "map-full",
      `there is no room for another backend of a service: the machine has ${SERVICE_PLACES} of an instance`,
    );
  }

  /** @param goesOn whether what has been counted of it stays */
  private write(place: Place, backend: Backend, avoid: number, goesOn = true): void {
    const map = this.maps.map("service_backends");
    const value = goesOn ? map.lookup(u32Key(place.number)) : undefined;
    const there = value && decodeBackend(value);
    place.avoid = avoid;
    if (there?.avoid === avoid) return;
    // One that is avoided is so for no longer than the new time.
    const latest = process.hrtime.bigint() + BigInt(Math.round(avoid * NS_PER_S));
    if (there && there.avoidedUntil > latest) there.avoidedUntil = latest;
    map.update(u32Key(place.number), encodeBackend(backend, avoid, there));
  }
}
