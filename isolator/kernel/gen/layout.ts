// Generated from bpf/layout.h by isolator/kernel/generate.ts (npm run generate). Do not edit.
export const layouts = {
  "structs": {
    "policy": {
      "size": 128,
      "fields": {
        "cgroup_id": {
          "offset": 0,
          "type": "u64"
        },
        "level": {
          "offset": 8,
          "type": "u32"
        },
        "flags": {
          "offset": 12,
          "type": "u32"
        },
        "enforcement": {
          "offset": 16,
          "type": "u32"
        },
        "ephemeral": {
          "offset": 20,
          "type": "u32"
        },
        "ring": {
          "offset": 24,
          "type": "u32"
        },
        "judge_begin": {
          "offset": 28,
          "type": "u16"
        },
        "judge_end": {
          "offset": 30,
          "type": "u16"
        },
        "max_connections": {
          "offset": 32,
          "type": "u32"
        },
        "max_connections_total": {
          "offset": 36,
          "type": "u32"
        },
        "connections_errno": {
          "offset": 40,
          "type": "u32"
        },
        "connection_rules": {
          "offset": 44,
          "type": "u32"
        },
        "mark": {
          "offset": 48,
          "type": "u32"
        },
        "mark_mask": {
          "offset": 52,
          "type": "u32"
        },
        "priority": {
          "offset": 56,
          "type": "u32"
        },
        "tos": {
          "offset": 60,
          "type": "u8"
        },
        "marking_parts": {
          "offset": 61,
          "type": "u8"
        },
        "file_errno": {
          "offset": 62,
          "type": "u8"
        },
        "reserved": {
          "offset": 63,
          "type": "u8"
        },
        "remap_port": {
          "offset": 64,
          "type": "u16",
          "count": 4
        },
        "remap_host": {
          "offset": 72,
          "type": "u16",
          "count": 4
        },
        "remap_tcp": {
          "offset": 80,
          "type": "u8"
        },
        "remap_udp": {
          "offset": 81,
          "type": "u8"
        },
        "services_own": {
          "offset": 82,
          "type": "u16"
        },
        "remap_more": {
          "offset": 84,
          "type": "u32"
        },
        "egress_set": {
          "offset": 88,
          "type": "u64"
        },
        "egress_classes": {
          "offset": 96,
          "type": "u32"
        },
        "egress_errno": {
          "offset": 100,
          "type": "u32"
        },
        "file_set": {
          "offset": 104,
          "type": "u64"
        },
        "file_filter": {
          "offset": 112,
          "type": "u64",
          "count": 2
        }
      }
    },
    "counters": {
      "size": 728,
      "fields": {
        "rx_packets": {
          "offset": 0,
          "type": "u64"
        },
        "rx_bytes": {
          "offset": 8,
          "type": "u64"
        },
        "tx_packets": {
          "offset": 16,
          "type": "u64"
        },
        "tx_bytes": {
          "offset": 24,
          "type": "u64"
        },
        "rx_dropped": {
          "offset": 32,
          "type": "u64"
        },
        "tx_dropped": {
          "offset": 40,
          "type": "u64"
        },
        "denied": {
          "offset": 48,
          "type": "u64",
          "count": 32
        },
        "audited": {
          "offset": 304,
          "type": "u64",
          "count": 32
        },
        "events_lost": {
          "offset": 560,
          "type": "u64"
        },
        "tcp_active_opens": {
          "offset": 568,
          "type": "u64"
        },
        "tcp_passive_opens": {
          "offset": 576,
          "type": "u64"
        },
        "tcp_closed": {
          "offset": 584,
          "type": "u64"
        },
        "tcp_attempt_fails": {
          "offset": 592,
          "type": "u64"
        },
        "tcp_estab_resets": {
          "offset": 600,
          "type": "u64"
        },
        "tcp_established": {
          "offset": 608,
          "type": "u64"
        },
        "tcp_left": {
          "offset": 616,
          "type": "u64"
        },
        "tcp_retrans_segs": {
          "offset": 624,
          "type": "u64"
        },
        "tcp_in_segs": {
          "offset": 632,
          "type": "u64"
        },
        "tcp_out_segs": {
          "offset": 640,
          "type": "u64"
        },
        "tcp_timewaits": {
          "offset": 648,
          "type": "u64"
        },
        "tcp_timewaits_lost": {
          "offset": 656,
          "type": "u64"
        },
        "self": {
          "offset": 664,
          "type": "u64"
        },
        "marking": {
          "offset": 672,
          "type": "u64",
          "count": 2
        },
        "marking_at": {
          "offset": 688,
          "type": "u64"
        },
        "marking_sk": {
          "offset": 696,
          "type": "u64"
        },
        "marking_to": {
          "offset": 704,
          "type": "u64",
          "count": 3
        }
      }
    },
    "port_owner": {
      "size": 32,
      "fields": {
        "chain": {
          "offset": 0,
          "type": "u64",
          "count": 4
        }
      }
    },
    "port_bounds": {
      "size": 8,
      "fields": {
        "first": {
          "offset": 0,
          "type": "u32"
        },
        "last": {
          "offset": 4,
          "type": "u32"
        }
      }
    },
    "event": {
      "size": 88,
      "fields": {
        "time": {
          "offset": 0,
          "type": "u64"
        },
        "cgroup_id": {
          "offset": 8,
          "type": "u64"
        },
        "owner": {
          "offset": 16,
          "type": "u64"
        },
        "pid": {
          "offset": 24,
          "type": "u32"
        },
        "uid": {
          "offset": 28,
          "type": "u32"
        },
        "port": {
          "offset": 32,
          "type": "u16"
        },
        "protocol": {
          "offset": 34,
          "type": "u16"
        },
        "reason": {
          "offset": 36,
          "type": "u32"
        },
        "family": {
          "offset": 40,
          "type": "u8"
        },
        "audited": {
          "offset": 41,
          "type": "u8"
        },
        "unreachable": {
          "offset": 42,
          "type": "u8"
        },
        "option": {
          "offset": 43,
          "type": "u8"
        },
        "dscp": {
          "offset": 44,
          "type": "u8"
        },
        "packet": {
          "offset": 45,
          "type": "u8"
        },
        "rule": {
          "offset": 46,
          "type": "u16"
        },
        "asked_port": {
          "offset": 48,
          "type": "u16"
        },
        "reserved": {
          "offset": 50,
          "type": "u8",
          "count": 6
        },
        "comm": {
          "offset": 56,
          "type": "u8",
          "count": 16
        },
        "address": {
          "offset": 72,
          "type": "u8",
          "count": 16
        }
      }
    },
    "socket_note": {
      "size": 20,
      "fields": {
        "listener": {
          "offset": 0,
          "type": "u8",
          "count": 4
        },
        "reported": {
          "offset": 4,
          "type": "u8",
          "count": 4
        },
        "listener_port": {
          "offset": 8,
          "type": "u16"
        },
        "marked_by": {
          "offset": 10,
          "type": "u8"
        },
        "dscp_excuse": {
          "offset": 11,
          "type": "u8"
        },
        "tos": {
          "offset": 12,
          "type": "u8"
        },
        "rewrite": {
          "offset": 13,
          "type": "u8"
        },
        "reserved": {
          "offset": 14,
          "type": "u8",
          "count": 2
        },
        "rewrite_at": {
          "offset": 16,
          "type": "u32"
        }
      }
    },
    "connection_count": {
      "size": 112,
      "fields": {
        "cgroup_id": {
          "offset": 0,
          "type": "u64"
        },
        "address": {
          "offset": 8,
          "type": "u8",
          "count": 16
        },
        "port": {
          "offset": 24,
          "type": "u16"
        },
        "protocol": {
          "offset": 26,
          "type": "u16"
        },
        "reserved": {
          "offset": 28,
          "type": "u32"
        },
        "live": {
          "offset": 32,
          "type": "u32"
        },
        "closed": {
          "offset": 36,
          "type": "u32"
        },
        "span": {
          "offset": 40,
          "type": "u32"
        },
        "reserved2": {
          "offset": 44,
          "type": "u32"
        },
        "lapsing": {
          "offset": 48,
          "type": "u32",
          "count": 16
        }
      }
    },
    "connection_rule": {
      "size": 48,
      "fields": {
        "address": {
          "offset": 0,
          "type": "u8",
          "count": 16
        },
        "mask": {
          "offset": 16,
          "type": "u8",
          "count": 16
        },
        "begin": {
          "offset": 32,
          "type": "u16"
        },
        "end": {
          "offset": 34,
          "type": "u16"
        },
        "protocol": {
          "offset": 36,
          "type": "u16"
        },
        "protocol_mask": {
          "offset": 38,
          "type": "u16"
        },
        "limit": {
          "offset": 40,
          "type": "u32"
        },
        "service": {
          "offset": 44,
          "type": "u32"
        }
      }
    },
    "connection_pass": {
      "size": 32,
      "fields": {
        "netns": {
          "offset": 0,
          "type": "u64"
        },
        "started": {
          "offset": 8,
          "type": "u64"
        },
        "number": {
          "offset": 16,
          "type": "u32"
        },
        "released": {
          "offset": 20,
          "type": "u32"
        },
        "kept": {
          "offset": 24,
          "type": "u32"
        },
        "reserved": {
          "offset": 28,
          "type": "u32"
        }
      }
    },
    "connection_share": {
      "size": 24,
      "fields": {
        "address": {
          "offset": 0,
          "type": "u8",
          "count": 16
        },
        "port": {
          "offset": 16,
          "type": "u16"
        },
        "protocol": {
          "offset": 18,
          "type": "u16"
        },
        "limit": {
          "offset": 20,
          "type": "u32"
        }
      }
    },
    "bandwidth_rule": {
      "size": 40,
      "fields": {
        "rate": {
          "offset": 0,
          "type": "u64",
          "count": 2
        },
        "burst": {
          "offset": 16,
          "type": "u64",
          "count": 2
        },
        "weight": {
          "offset": 32,
          "type": "u32"
        },
        "flags": {
          "offset": 36,
          "type": "u32"
        }
      }
    },
    "bandwidth_state": {
      "size": 208,
      "fields": {
        "rate": {
          "offset": 0,
          "type": "u64"
        },
        "level": {
          "offset": 8,
          "type": "u64"
        },
        "clock": {
          "offset": 16,
          "type": "u64"
        },
        "credit": {
          "offset": 24,
          "type": "u64"
        },
        "begun": {
          "offset": 32,
          "type": "u64"
        },
        "due": {
          "offset": 40,
          "type": "u64"
        },
        "budget": {
          "offset": 48,
          "type": "u64"
        },
        "bytes": {
          "offset": 56,
          "type": "u64"
        },
        "other": {
          "offset": 64,
          "type": "u64"
        },
        "passed": {
          "offset": 72,
          "type": "u64"
        },
        "phase": {
          "offset": 80,
          "type": "u64"
        },
        "generation": {
          "offset": 88,
          "type": "u64"
        },
        "generation_due": {
          "offset": 96,
          "type": "u64"
        },
        "senders": {
          "offset": 104,
          "type": "u64"
        },
        "senders_before": {
          "offset": 112,
          "type": "u64"
        },
        "host_generation": {
          "offset": 120,
          "type": "u64"
        },
        "passed_packets": {
          "offset": 128,
          "type": "u64"
        },
        "passed_bytes": {
          "offset": 136,
          "type": "u64"
        },
        "dropped_packets": {
          "offset": 144,
          "type": "u64"
        },
        "dropped_bytes": {
          "offset": 152,
          "type": "u64"
        },
        "marked": {
          "offset": 160,
          "type": "u64"
        },
        "throttled": {
          "offset": 168,
          "type": "u64"
        },
        "measured": {
          "offset": 176,
          "type": "u64"
        },
        "measured_at": {
          "offset": 184,
          "type": "u64"
        },
        "reported_at": {
          "offset": 192,
          "type": "u64"
        },
        "unarmed": {
          "offset": 200,
          "type": "u64"
        }
      }
    },
    "socket_tally": {
      "size": 2080,
      "fields": {
        "parent": {
          "offset": 0,
          "type": "u64"
        },
        "pass": {
          "offset": 8,
          "type": "u32"
        },
        "timewait": {
          "offset": 12,
          "type": "u32"
        },
        "in_segs": {
          "offset": 16,
          "type": "u64"
        },
        "out_segs": {
          "offset": 24,
          "type": "u64"
        },
        "rtt": {
          "offset": 32,
          "type": "u32",
          "count": 512
        }
      }
    },
    "port_remap_set": {
      "size": 128,
      "fields": {
        "cgroup_id": {
          "offset": 0,
          "type": "u64",
          "count": 8
        },
        "port": {
          "offset": 64,
          "type": "u16",
          "count": 8
        },
        "tcp": {
          "offset": 80,
          "type": "u16",
          "count": 8
        },
        "udp": {
          "offset": 96,
          "type": "u16",
          "count": 8
        },
        "way": {
          "offset": 112,
          "type": "u8",
          "count": 8
        },
        "reserved": {
          "offset": 120,
          "type": "u8",
          "count": 8
        }
      }
    },
    "file_key": {
      "size": 24,
      "fields": {
        "set": {
          "offset": 0,
          "type": "u64"
        },
        "ino": {
          "offset": 8,
          "type": "u64"
        },
        "dev": {
          "offset": 16,
          "type": "u32"
        },
        "generation": {
          "offset": 20,
          "type": "u32"
        }
      }
    },
    "file_detail": {
      "size": 400,
      "fields": {
        "ino": {
          "offset": 0,
          "type": "u64"
        },
        "dev": {
          "offset": 8,
          "type": "u32"
        },
        "operation": {
          "offset": 12,
          "type": "u8"
        },
        "verdict": {
          "offset": 13,
          "type": "u8"
        },
        "seen": {
          "offset": 14,
          "type": "u8"
        },
        "begin": {
          "offset": 15,
          "type": "u8"
        },
        "path": {
          "offset": 16,
          "type": "u8",
          "count": 384
        }
      }
    },
    "file_cache": {
      "size": 65544,
      "fields": {
        "generation": {
          "offset": 0,
          "type": "u64"
        },
        "verdicts": {
          "offset": 8,
          "type": "u64",
          "count": 8192
        }
      }
    },
    "file_identity": {
      "size": 24,
      "fields": {
        "ino": {
          "offset": 0,
          "type": "u64"
        },
        "dev": {
          "offset": 8,
          "type": "u32"
        },
        "generation": {
          "offset": 12,
          "type": "u32"
        },
        "fd": {
          "offset": 16,
          "type": "u32"
        },
        "reserved": {
          "offset": 20,
          "type": "u32"
        }
      }
    },
    "marking": {
      "size": 16,
      "fields": {
        "mark": {
          "offset": 0,
          "type": "u32"
        },
        "mark_mask": {
          "offset": 4,
          "type": "u32"
        },
        "priority": {
          "offset": 8,
          "type": "u32"
        },
        "tos": {
          "offset": 12,
          "type": "u8"
        },
        "parts": {
          "offset": 13,
          "type": "u8"
        },
        "reserved": {
          "offset": 14,
          "type": "u8",
          "count": 2
        }
      }
    },
    "marking_rule": {
      "size": 16,
      "fields": {
        "set": {
          "offset": 0,
          "type": "u64"
        },
        "rule": {
          "offset": 8,
          "type": "u32"
        },
        "reserved": {
          "offset": 12,
          "type": "u32"
        }
      }
    },
    "marking_set": {
      "size": 16,
      "fields": {
        "set": {
          "offset": 0,
          "type": "u64"
        },
        "by_class": {
          "offset": 8,
          "type": "u32"
        },
        "reserved": {
          "offset": 12,
          "type": "u32"
        }
      }
    },
    "endpoint_key": {
      "size": 20,
      "fields": {
        "address": {
          "offset": 0,
          "type": "u8",
          "count": 16
        },
        "port": {
          "offset": 16,
          "type": "u16"
        },
        "protocol": {
          "offset": 18,
          "type": "u8"
        },
        "reserved": {
          "offset": 19,
          "type": "u8"
        }
      }
    },
    "address_block": {
      "size": 20,
      "fields": {
        "prefix": {
          "offset": 0,
          "type": "u32"
        },
        "address": {
          "offset": 4,
          "type": "u8",
          "count": 16
        }
      }
    },
    "class_set": {
      "size": 16,
      "fields": {
        "ids": {
          "offset": 0,
          "type": "u32",
          "count": 4
        }
      }
    },
    "endpoint_state": {
      "size": 20,
      "fields": {
        "current": {
          "offset": 0,
          "type": "u8"
        },
        "reserved": {
          "offset": 1,
          "type": "u8",
          "count": 3
        },
        "host": {
          "offset": 4,
          "type": "u8",
          "count": 16
        }
      }
    },
    "endpoint_found": {
      "size": 40,
      "fields": {
        "ids": {
          "offset": 0,
          "type": "u32",
          "count": 4
        },
        "owner": {
          "offset": 16,
          "type": "u64"
        },
        "origin": {
          "offset": 24,
          "type": "u32"
        },
        "current": {
          "offset": 28,
          "type": "u32"
        },
        "local": {
          "offset": 32,
          "type": "u32"
        },
        "reserved": {
          "offset": 36,
          "type": "u32"
        }
      }
    },
    "egress_block": {
      "size": 32,
      "fields": {
        "prefix": {
          "offset": 0,
          "type": "u32"
        },
        "set": {
          "offset": 4,
          "type": "u32",
          "count": 2
        },
        "kind": {
          "offset": 12,
          "type": "u32"
        },
        "address": {
          "offset": 16,
          "type": "u8",
          "count": 16
        }
      }
    },
    "egress_class": {
      "size": 16,
      "fields": {
        "set": {
          "offset": 0,
          "type": "u64"
        },
        "class": {
          "offset": 8,
          "type": "u32"
        },
        "kind": {
          "offset": 12,
          "type": "u32"
        }
      }
    },
    "egress_ranges": {
      "size": 132,
      "fields": {
        "begin": {
          "offset": 0,
          "type": "u16",
          "count": 32
        },
        "first": {
          "offset": 64,
          "type": "u16",
          "count": 32
        },
        "count": {
          "offset": 128,
          "type": "u32"
        }
      }
    },
    "egress_hit": {
      "size": 16,
      "fields": {
        "cgroup_id": {
          "offset": 0,
          "type": "u64"
        },
        "rule": {
          "offset": 8,
          "type": "u32"
        },
        "action": {
          "offset": 12,
          "type": "u32"
        }
      }
    },
    "egress_recent": {
      "size": 64,
      "fields": {
        "turn": {
          "offset": 0,
          "type": "u64"
        },
        "epoch": {
          "offset": 8,
          "type": "u64"
        },
        "cgroup_id": {
          "offset": 16,
          "type": "u64"
        },
        "set": {
          "offset": 24,
          "type": "u64"
        },
        "address": {
          "offset": 32,
          "type": "u8",
          "count": 16
        },
        "port": {
          "offset": 48,
          "type": "u16"
        },
        "protocol": {
          "offset": 50,
          "type": "u16"
        },
        "service": {
          "offset": 52,
          "type": "u32"
        },
        "reserved": {
          "offset": 56,
          "type": "u64"
        }
      }
    },
    "egress_verdict": {
      "size": 16,
      "fields": {
        "rule": {
          "offset": 0,
          "type": "u32"
        },
        "by_block": {
          "offset": 4,
          "type": "u32"
        },
        "by_class": {
          "offset": 8,
          "type": "u32"
        },
        "class": {
          "offset": 12,
          "type": "u32"
        }
      }
    },
    "termination": {
      "size": 48,
      "fields": {
        "set": {
          "offset": 0,
          "type": "u64"
        },
        "by_class": {
          "offset": 8,
          "type": "u32"
        },
        "level": {
          "offset": 12,
          "type": "u32"
        },
        "chain": {
          "offset": 16,
          "type": "u64",
          "count": 4
        }
      }
    },
    "listening_ports": {
      "size": 8192,
      "fields": {
        "ports": {
          "offset": 0,
          "type": "u64",
          "count": 1024
        }
      }
    },
    "ended_socket": {
      "size": 64,
      "fields": {
        "cgroup_id": {
          "offset": 0,
          "type": "u64"
        },
        "cookie": {
          "offset": 8,
          "type": "u64"
        },
        "local": {
          "offset": 16,
          "type": "u8",
          "count": 16
        },
        "remote": {
          "offset": 32,
          "type": "u8",
          "count": 16
        },
        "local_port": {
          "offset": 48,
          "type": "u16"
        },
        "remote_port": {
          "offset": 50,
          "type": "u16"
        },
        "device": {
          "offset": 52,
          "type": "u32"
        },
        "family": {
          "offset": 56,
          "type": "u16"
        },
        "protocol": {
          "offset": 58,
          "type": "u16"
        },
        "ended": {
          "offset": 60,
          "type": "u32"
        }
      }
    },
    "service_key": {
      "size": 32,
      "fields": {
        "set": {
          "offset": 0,
          "type": "u64"
        },
        "address": {
          "offset": 8,
          "type": "u8",
          "count": 16
        },
        "port": {
          "offset": 24,
          "type": "u16"
        },
        "protocol": {
          "offset": 26,
          "type": "u16"
        },
        "reserved": {
          "offset": 28,
          "type": "u32"
        }
      }
    },
    "service": {
      "size": 24,
      "fields": {
        "table": {
          "offset": 0,
          "type": "u64"
        },
        "count": {
          "offset": 8,
          "type": "u32"
        },
        "near": {
          "offset": 12,
          "type": "u32"
        },
        "flags": {
          "offset": 16,
          "type": "u32"
        },
        "class": {
          "offset": 20,
          "type": "u32"
        }
      }
    },
    "service_slot_key": {
      "size": 16,
      "fields": {
        "table": {
          "offset": 0,
          "type": "u64"
        },
        "block": {
          "offset": 8,
          "type": "u32"
        },
        "reserved": {
          "offset": 12,
          "type": "u32"
        }
      }
    },
    "service_slot": {
      "size": 16,
      "fields": {
        "place": {
          "offset": 0,
          "type": "u32"
        },
        "other": {
          "offset": 4,
          "type": "u32"
        },
        "first": {
          "offset": 8,
          "type": "u32"
        },
        "weight": {
          "offset": 12,
          "type": "u16"
        },
        "other_weight": {
          "offset": 14,
          "type": "u16"
        }
      }
    },
    "service_backend": {
      "size": 64,
      "fields": {
        "avoided_until": {
          "offset": 0,
          "type": "u64"
        },
        "avoid": {
          "offset": 8,
          "type": "u64"
        },
        "connects": {
          "offset": 16,
          "type": "u64"
        },
        "refused": {
          "offset": 24,
          "type": "u64"
        },
        "unanswered": {
          "offset": 32,
          "type": "u64"
        },
        "live": {
          "offset": 40,
          "type": "u32"
        },
        "port": {
          "offset": 44,
          "type": "u16"
        },
        "reserved": {
          "offset": 46,
          "type": "u16"
        },
        "address": {
          "offset": 48,
          "type": "u8",
          "count": 16
        }
      }
    }
  },
  "enums": {
    "ring_slot": {
      "NO_RING": 1024
    },
    "policy_flags": {
      "POLICY_INHERIT_PORTS": 1,
      "POLICY_ALLOW_SCTP": 2,
      "POLICY_ALLOW_DCCP": 4,
      "POLICY_ANY_PORT": 8,
      "POLICY_DENY_RAW": 16,
      "POLICY_DENY_PACKET": 32,
      "POLICY_DENY_VSOCK": 64,
      "POLICY_DENY_XDP": 128,
      "POLICY_DENY_RECEIVED": 256,
      "POLICY_DENY_ESCAPE": 512,
      "POLICY_COUNT_CONNECTIONS": 1024,
      "POLICY_REMAP": 2048,
      "POLICY_EGRESS": 4096,
      "POLICY_SERVICES": 8192,
      "POLICY_FILES": 16384,
      "POLICY_BANDWIDTH": 32768,
      "POLICY_SET_DSCP": 65536,
      "POLICY_SET_MARK": 131072,
      "POLICY_SET_PRIORITY": 262144,
      "POLICY_DENY_MARKING": 524288,
      "POLICY_DROP_DSCP": 1048576,
      "POLICY_COUNT_PORTS": 2097152,
      "POLICY_FAIR": 4194304,
      "POLICY_REWRITE_DSCP": 8388608,
      "POLICY_MARK_DESTINATIONS": 16777216
    },
    "enforcement": {
      "ENFORCE_UNSET": 0,
      "ENFORCE_ON": 1,
      "ENFORCE_AUDIT": 2,
      "ENFORCE_OFF": 3
    },
    "ephemeral": {
      "EPHEMERAL_UNSET": 0,
      "EPHEMERAL_ALLOW": 1,
      "EPHEMERAL_CLIENTS": 2,
      "EPHEMERAL_DENY": 3
    },
    "reason": {
      "REASON_BIND": 0,
      "REASON_BIND_ZERO": 1,
      "REASON_CHOSEN_PORT": 2,
      "REASON_SENDMSG": 3,
      "REASON_LISTEN": 4,
      "REASON_PROTOCOL": 5,
      "REASON_SOURCE_PORT": 6,
      "REASON_RECEIVE": 7,
      "REASON_SOCKET": 8,
      "REASON_RECEIVED": 9,
      "REASON_CGROUP": 10,
      "REASON_CLONE": 11,
      "REASON_MOUNT": 12,
      "REASON_BPF": 13,
      "REASON_MARKING": 14,
      "REASON_CONNECTIONS": 15,
      "REASON_CONNECTIONS_TOTAL": 16,
      "REASON_EGRESS": 17,
      "REASON_FILE": 18,
      "REASON_BANDWIDTH": 19,
      "REASON_SERVICE": 20,
      "REASON_CONNECTIONS_PORTS": 21,
      "REASONS": 32
    },
    "connection_sizes": {
      "CONNECTION_RULES": 16,
      "CONNECTION_SETS": 4096,
      "CONNECTION_PLACES": 8,
      "CONNECTION_NO_PLACE": 16777215,
      "CONNECTION_PORT": 16777216,
      "CONNECTION_SHARES": 8,
      "CLOSED_CONNECTIONS": 32768,
      "SOCKET_HOLDS": 262144,
      "CONNECTION_SPAN_SHIFT": 33,
      "CONNECTION_SPANS": 16,
      "CONNECTION_CLAIMED": 1073741824
    },
    "bandwidth_flags": {
      "BANDWIDTH_LOOPBACK": 1,
      "BANDWIDTH_EPERM": 2,
      "BANDWIDTH_EAGAIN": 4,
      "BANDWIDTH_AUDIT": 8,
      "BANDWIDTH_EDT": 16
    },
    "remap_way": {
      "REMAP_TO_HOST": 0,
      "REMAP_TO_CONTAINER": 1
    },
    "remap_sizes": {
      "REMAP_SETS": 16384,
      "REMAP_PLACES": 8,
      "REMAP_SETS_SHIFT": 18,
      "REMAP_ID_FACTOR": 625341585,
      "REMAP_FIRST_FACTOR": 889516853,
      "REMAP_SECOND_FACTOR": 1640531527
    },
    "file_verdict": {
      "FILE_NO_RULE": 0,
      "FILE_ALLOW": 1,
      "FILE_READONLY": 2,
      "FILE_DENY": 3,
      "FILE_DISCONNECTED": 4,
      "FILE_TOO_DEEP": 5,
      "FILE_PIN": 6,
      "FILE_SUBVOLUME": 7
    },
    "file_operation": {
      "FILE_OPEN": 0,
      "FILE_OPEN_WRITE": 1,
      "FILE_EXEC": 2,
      "FILE_CREATE": 3,
      "FILE_MKDIR": 4,
      "FILE_MKNOD": 5,
      "FILE_SYMLINK": 6,
      "FILE_LINK": 7,
      "FILE_UNLINK": 8,
      "FILE_RMDIR": 9,
      "FILE_RENAME": 10,
      "FILE_ATTRIBUTES": 11,
      "FILE_XATTR": 12,
      "FILE_UMOUNT": 13
    },
    "class_bit": {
      "CLASS_CLAIMED": 1073741824
    },
    "endpoint_current": {
      "ENDPOINTS_SLOT": 1,
      "ENDPOINTS_EXACT": 2,
      "ENDPOINTS_PORT": 4,
      "ENDPOINTS_ADDRESS": 8,
      "ENDPOINTS_BLOCKS": 16,
      "ENDPOINTS_HOST": 32
    },
    "endpoint_origin": {
      "ORIGIN_NONE": 0,
      "ORIGIN_OWNER": 1,
      "ORIGIN_PORT": 2,
      "ORIGIN_ADDRESS": 3,
      "ORIGIN_BLOCK": 4
    },
    "egress_sizes": {
      "EGRESS_RANGES": 32,
      "EGRESS_RULES": 8192,
      "EGRESS_ACTION_BITS": 3,
      "EGRESS_RECENTS": 256
    },
    "egress_action": {
      "EGRESS_ALLOW": 1,
      "EGRESS_DENY": 2,
      "EGRESS_AUDIT": 3
    },
    "egress_kind": {
      "EGRESS_TCP": 0,
      "EGRESS_UDP": 1,
      "EGRESS_OTHER": 2
    },
    "connection_total": {
      "IN_ALL": 0,
      "WITHOUT_PLACE": 1,
      "PORTS_HELD": 2,
      "CONNECTION_TOTALS": 4
    },
    "service_sizes": {
      "SERVICE_PEERS": 8,
      "SERVICE_DRAWS": 3,
      "SERVICE_LOOK": 256,
      "SERVICES_SHARED": 1,
      "SERVICE_AT_HAND": 8,
      "SERVICE_BLOCK": 64,
      "SERVICE_PLACES": 65536,
      "SERVICE_SOCKETS": 65536
    },
    "service_flag": {
      "SERVICE_LEAST": 1,
      "SERVICE_AFFINITY": 2,
      "SERVICE_TELL_VIP": 4,
      "SERVICE_PASS": 8
    },
    "service_state": {
      "SERVICE_WATCHED": 0,
      "SERVICE_TELLS": 1,
      "SERVICE_STATES": 2
    }
  }
} as const;
