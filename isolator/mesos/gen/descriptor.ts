// Generated from proto/ by isolator/mesos/generate.ts (npm run generate). Do not edit.
export const descriptor = {
 "nested": {
  "bpf_isolator": {
   "nested": {
    "Call": {
     "edition": "proto2",
     "fields": {
      "type": {
       "type": "Type",
       "id": 1
      },
      "handshake": {
       "type": "Handshake",
       "id": 2
      },
      "recover": {
       "type": "Recover",
       "id": 3
      },
      "prepare": {
       "type": "Prepare",
       "id": 4
      },
      "isolate": {
       "type": "Isolate",
       "id": 5
      },
      "watch": {
       "type": "Watch",
       "id": 6
      },
      "update": {
       "type": "Update",
       "id": 7
      },
      "usage": {
       "type": "Usage",
       "id": 8
      },
      "status": {
       "type": "Status",
       "id": 9
      },
      "cleanup": {
       "type": "Cleanup",
       "id": 10
      },
      "events": {
       "type": "Events",
       "id": 21
      },
      "endpoints": {
       "type": "Endpoints",
       "id": 30
      },
      "explain": {
       "type": "Explain",
       "id": 31
      },
      "break_glass": {
       "type": "BreakGlass",
       "id": 33
      }
     },
     "nested": {
      "Type": {
       "values": {
        "UNKNOWN": 0,
        "HANDSHAKE": 1,
        "RECOVER": 2,
        "PREPARE": 3,
        "ISOLATE": 4,
        "WATCH": 5,
        "UPDATE": 6,
        "USAGE": 7,
        "STATUS": 8,
        "CLEANUP": 9,
        "LIST": 20,
        "EVENTS": 21,
        "GET_STATUS": 22,
        "ENDPOINTS": 30,
        "EXPLAIN": 31,
        "SERVICES": 32,
        "BREAK_GLASS": 33
       }
      },
      "Handshake": {
       "fields": {
        "name": {
         "type": "string",
         "id": 1
        },
        "version": {
         "type": "string",
         "id": 2
        },
        "mesos_version": {
         "type": "string",
         "id": 3
        },
        "protocol_versions": {
         "rule": "repeated",
         "type": "uint32",
         "id": 4
        },
        "agent_address": {
         "type": "mesos.Address",
         "id": 5
        },
        "agent_work_dir": {
         "type": "string",
         "id": 6
        }
       }
      },
      "Recover": {
       "fields": {
        "states": {
         "rule": "repeated",
         "type": "mesos.slave.ContainerState",
         "id": 1
        },
        "orphans": {
         "rule": "repeated",
         "type": "mesos.ContainerID",
         "id": 2
        }
       }
      },
      "Prepare": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        },
        "container_config": {
         "type": "mesos.slave.ContainerConfig",
         "id": 2
        }
       }
      },
      "Isolate": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        },
        "pid": {
         "type": "uint32",
         "id": 2
        }
       }
      },
      "Watch": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        }
       }
      },
      "Update": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        },
        "resource_requests": {
         "rule": "repeated",
         "type": "mesos.Resource",
         "id": 2
        },
        "resource_limits": {
         "keyType": "string",
         "type": "mesos.Value.Scalar",
         "id": 3
        }
       }
      },
      "Usage": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        },
        "container_ids": {
         "rule": "repeated",
         "type": "mesos.ContainerID",
         "id": 2
        }
       }
      },
      "Status": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        }
       }
      },
      "Cleanup": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        }
       }
      },
      "Events": {
       "fields": {
        "follow": {
         "type": "bool",
         "id": 1,
         "options": {
          "default": false
         }
        },
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 2
        }
       }
      },
      "Endpoints": {
       "fields": {
        "class_name": {
         "type": "string",
         "id": 1
        }
       }
      },
      "Explain": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        },
        "address": {
         "type": "string",
         "id": 2
        },
        "port": {
         "type": "uint32",
         "id": 3
        },
        "protocol": {
         "type": "string",
         "id": 4
        }
       }
      },
      "BreakGlass": {
       "fields": {
        "container_id": {
         "type": "mesos.ContainerID",
         "id": 1
        },
        "words": {
         "rule": "repeated",
         "type": "Word",
         "id": 2
        }
       },
       "nested": {
        "Word": {
         "fields": {
          "container_id": {
           "type": "mesos.ContainerID",
           "id": 1
          },
          "mode": {
           "type": "string",
           "id": 2
          }
         }
        }
       }
      }
     }
    },
    "Response": {
     "edition": "proto2",
     "fields": {
      "type": {
       "type": "Type",
       "id": 1
      },
      "handshake": {
       "type": "Handshake",
       "id": 2
      },
      "prepare": {
       "type": "Prepare",
       "id": 4
      },
      "watch": {
       "type": "Watch",
       "id": 6
      },
      "usage": {
       "type": "Usage",
       "id": 8
      },
      "status": {
       "type": "Status",
       "id": 9
      },
      "list": {
       "type": "List",
       "id": 20
      },
      "events": {
       "type": "Events",
       "id": 21
      },
      "get_status": {
       "type": "GetStatus",
       "id": 22
      },
      "endpoints": {
       "type": "Endpoints",
       "id": 30
      },
      "explain": {
       "type": "Explain",
       "id": 31
      },
      "services": {
       "type": "Services",
       "id": 32
      },
      "error": {
       "type": "Error",
       "id": 100
      }
     },
     "nested": {
      "Type": {
       "values": {
        "UNKNOWN": 0,
        "ERROR": 100,
        "HANDSHAKE": 1,
        "RECOVER": 2,
        "PREPARE": 3,
        "ISOLATE": 4,
        "WATCH": 5,
        "UPDATE": 6,
        "USAGE": 7,
        "STATUS": 8,
        "CLEANUP": 9,
        "LIST": 20,
        "EVENTS": 21,
        "GET_STATUS": 22,
        "ENDPOINTS": 30,
        "EXPLAIN": 31,
        "SERVICES": 32,
        "BREAK_GLASS": 33
       }
      },
      "Error": {
       "fields": {
        "code": {
         "type": "string",
         "id": 1
        },
        "message": {
         "type": "string",
         "id": 2
        }
       }
      },
      "Handshake": {
       "fields": {
        "name": {
         "type": "string",
         "id": 1
        },
        "version": {
         "type": "string",
         "id": 2
        },
        "protocol_versions": {
         "rule": "repeated",
         "type": "uint32",
         "id": 3
        },
        "protocol_version": {
         "type": "uint32",
         "id": 4
        },
        "features": {
         "rule": "repeated",
         "type": "string",
         "id": 5
        },
        "pid": {
         "type": "uint32",
         "id": 6
        },
        "instance": {
         "type": "string",
         "id": 7
        }
       }
      },
      "Prepare": {
       "fields": {
        "launch_info": {
         "type": "mesos.slave.ContainerLaunchInfo",
         "id": 1
        },
        "status": {
         "type": "mesos.ContainerStatus",
         "id": 2
        }
       }
      },
      "Watch": {
       "fields": {
        "limitation": {
         "type": "mesos.slave.ContainerLimitation",
         "id": 1
        }
       }
      },
      "Usage": {
       "fields": {
        "statistics": {
         "type": "mesos.ResourceStatistics",
         "id": 1
        },
        "all": {
         "rule": "repeated",
         "type": "mesos.ResourceStatistics",
         "id": 2
        }
       }
      },
      "Status": {
       "fields": {
        "status": {
         "type": "mesos.ContainerStatus",
         "id": 1
        },
        "session_launch_info": {
         "type": "mesos.slave.ContainerLaunchInfo",
         "id": 2
        }
       }
      },
      "List": {
       "fields": {
        "containers": {
         "rule": "repeated",
         "type": "ContainerSummary",
         "id": 1
        }
       }
      },
      "Events": {
       "fields": {
        "event": {
         "type": "Event",
         "id": 1
        }
       }
      },
      "GetStatus": {
       "fields": {
        "status": {
         "type": "DaemonStatus",
         "id": 1
        }
       }
      },
      "Endpoints": {
       "fields": {
        "endpoints": {
         "rule": "repeated",
         "type": "Endpoint",
         "id": 1
        }
       }
      },
      "Services": {
       "fields": {
        "services": {
         "rule": "repeated",
         "type": "Service",
         "id": 1
        }
       }
      },
      "Explain": {
       "fields": {
        "verdicts": {
         "rule": "repeated",
         "type": "EgressVerdict",
         "id": 1
        },
        "classes": {
         "rule": "repeated",
         "type": "ClassMembership",
         "id": 2
        },
        "local": {
         "type": "bool",
         "id": 3
        },
        "owner": {
         "type": "string",
         "id": 4
        }
       }
      }
     }
    },
    "Enforcement": {
     "edition": "proto2",
     "values": {
      "ON": 1,
      "AUDIT": 2,
      "OFF": 3
     }
    },
    "Count": {
     "edition": "proto2",
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "count": {
       "type": "uint64",
       "id": 2
      }
     }
    },
    "ContainerSummary": {
     "edition": "proto2",
     "fields": {
      "container_id": {
       "type": "mesos.ContainerID",
       "id": 1
      },
      "state": {
       "type": "State",
       "id": 2
      },
      "ports": {
       "rule": "repeated",
       "type": "mesos.Value.Range",
       "id": 3
      },
      "inherits_ports": {
       "type": "bool",
       "id": 4
      },
      "network": {
       "type": "string",
       "id": 5
      },
      "enforcement": {
       "type": "Enforcement",
       "id": 6
      },
      "pids": {
       "type": "uint32",
       "id": 7
      },
      "statistics": {
       "type": "mesos.ResourceStatistics",
       "id": 8
      },
      "denied": {
       "rule": "repeated",
       "type": "Count",
       "id": 9
      },
      "audited": {
       "rule": "repeated",
       "type": "Count",
       "id": 10
      },
      "events_lost": {
       "type": "uint64",
       "id": 11
      },
      "prepared_at": {
       "type": "double",
       "id": 12
      },
      "framework_id": {
       "type": "string",
       "id": 13
      },
      "executor_id": {
       "type": "string",
       "id": 14
      },
      "task_id": {
       "type": "string",
       "id": 15
      },
      "container_class": {
       "type": "mesos.slave.ContainerClass",
       "id": 16
      },
      "origin": {
       "type": "string",
       "id": 17
      },
      "cgroup": {
       "type": "string",
       "id": 18
      },
      "break_glass": {
       "type": "string",
       "id": 19
      },
      "classes": {
       "rule": "repeated",
       "type": "ClassMembership",
       "id": 40
      },
      "marking": {
       "type": "Marking",
       "id": 41
      },
      "bandwidth": {
       "type": "Bandwidth",
       "id": 42
      },
      "files": {
       "type": "FileRules",
       "id": 46
      },
      "port_mappings": {
       "rule": "repeated",
       "type": "mesos.NetworkInfo.PortMapping",
       "id": 55
      },
      "egress_rules": {
       "type": "uint32",
       "id": 60
      },
      "egress_default": {
       "type": "string",
       "id": 61
      },
      "egress_counts": {
       "rule": "repeated",
       "type": "EgressRuleCount",
       "id": 62
      },
      "connections": {
       "type": "Connections",
       "id": 50
      }
     },
     "nested": {
      "State": {
       "values": {
        "UNKNOWN": 0,
        "PREPARED": 1,
        "ISOLATED": 2,
        "RECOVERED": 3,
        "CLEANING": 4,
        "BROKEN": 5,
        "UNMANAGED": 6
       }
      }
     }
    },
    "Connections": {
     "edition": "proto2",
     "fields": {
      "held": {
       "type": "uint32",
       "id": 1
      },
      "live": {
       "type": "uint32",
       "id": 2
      },
      "shared": {
       "type": "uint32",
       "id": 3
      },
      "limit": {
       "type": "uint32",
       "id": 4
      },
      "limit_total": {
       "type": "uint32",
       "id": 5
      },
      "top": {
       "rule": "repeated",
       "type": "HeldDestination",
       "id": 6
      },
      "ports": {
       "type": "uint32",
       "id": 7
      },
      "limit_ports": {
       "type": "uint32",
       "id": 8
      },
      "share": {
       "type": "uint32",
       "id": 9
      },
      "uncounted": {
       "type": "string",
       "id": 10
      }
     }
    },
    "HeldDestination": {
     "edition": "proto2",
     "fields": {
      "protocol": {
       "type": "string",
       "id": 1
      },
      "address": {
       "type": "string",
       "id": 2
      },
      "port": {
       "type": "uint32",
       "id": 3
      },
      "held": {
       "type": "uint32",
       "id": 4
      },
      "containers": {
       "type": "uint32",
       "id": 5
      },
      "share": {
       "type": "double",
       "id": 6
      }
     }
    },
    "Bandwidth": {
     "edition": "proto2",
     "fields": {
      "egress": {
       "type": "Direction",
       "id": 1
      },
      "ingress": {
       "type": "Direction",
       "id": 2
      },
      "weight": {
       "type": "uint32",
       "id": 3
      }
     },
     "nested": {
      "Direction": {
       "fields": {
        "rate": {
         "type": "uint64",
         "id": 1
        },
        "measured": {
         "type": "uint64",
         "id": 2
        },
        "throttled_ms": {
         "type": "uint64",
         "id": 3
        },
        "dropped": {
         "type": "uint64",
         "id": 4
        },
        "marked": {
         "type": "uint64",
         "id": 5
        }
       }
      }
     }
    },
    "Marking": {
     "edition": "proto2",
     "fields": {
      "dscp": {
       "type": "uint32",
       "id": 1
      },
      "mark": {
       "type": "uint32",
       "id": 2
      },
      "mark_mask": {
       "type": "uint32",
       "id": 3
      },
      "priority": {
       "type": "uint32",
       "id": 4
      },
      "destinations": {
       "rule": "repeated",
       "type": "MarkingDestination",
       "id": 5
      },
      "change": {
       "type": "string",
       "id": 6
      },
      "wrong_dscp": {
       "type": "string",
       "id": 7
      }
     }
    },
    "MarkingDestination": {
     "edition": "proto2",
     "fields": {
      "to": {
       "type": "string",
       "id": 1
      },
      "marking": {
       "type": "Marking",
       "id": 2
      }
     }
    },
    "FileRules": {
     "edition": "proto2",
     "fields": {
      "deny": {
       "type": "uint32",
       "id": 1
      },
      "readonly": {
       "type": "uint32",
       "id": 2
      },
      "allow": {
       "type": "uint32",
       "id": 3
      },
      "errno_name": {
       "type": "string",
       "id": 4
      },
      "missing": {
       "rule": "repeated",
       "type": "string",
       "id": 5
      }
     }
    },
    "ClassMembership": {
     "edition": "proto2",
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "claimed": {
       "type": "bool",
       "id": 2
      }
     }
    },
    "EgressVerdict": {
     "edition": "proto2",
     "fields": {
      "container": {
       "type": "string",
       "id": 1
      },
      "action": {
       "type": "string",
       "id": 2
      },
      "by": {
       "type": "string",
       "id": 3
      },
      "rule": {
       "type": "string",
       "id": 4
      },
      "by_address": {
       "type": "string",
       "id": 5
      },
      "by_class": {
       "type": "string",
       "id": 6
      },
      "class_name": {
       "type": "string",
       "id": 7
      }
     }
    },
    "EgressRuleCount": {
     "edition": "proto2",
     "fields": {
      "rule": {
       "type": "string",
       "id": 1
      },
      "denied": {
       "type": "uint64",
       "id": 2
      },
      "audited": {
       "type": "uint64",
       "id": 3
      }
     }
    },
    "Endpoint": {
     "edition": "proto2",
     "fields": {
      "address": {
       "type": "string",
       "id": 1
      },
      "port": {
       "type": "uint32",
       "id": 2
      },
      "protocol": {
       "type": "string",
       "id": 3
      },
      "classes": {
       "rule": "repeated",
       "type": "ClassMembership",
       "id": 4
      },
      "task": {
       "type": "string",
       "id": 5
      },
      "source": {
       "type": "string",
       "id": 6
      }
     }
    },
    "Service": {
     "edition": "proto2",
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "host": {
       "type": "string",
       "id": 2
      },
      "address": {
       "type": "string",
       "id": 3
      },
      "port": {
       "type": "uint32",
       "id": 4
      },
      "protocol": {
       "type": "string",
       "id": 5
      },
      "backends": {
       "rule": "repeated",
       "type": "ServiceBackend",
       "id": 6
      },
      "misses": {
       "type": "uint64",
       "id": 7
      }
     }
    },
    "ServiceBackend": {
     "edition": "proto2",
     "fields": {
      "address": {
       "type": "string",
       "id": 1
      },
      "port": {
       "type": "uint32",
       "id": 2
      },
      "weight": {
       "type": "uint32",
       "id": 3
      },
      "state": {
       "type": "string",
       "id": 4
      },
      "connections": {
       "type": "uint32",
       "id": 5
      },
      "connects": {
       "type": "uint64",
       "id": 6
      },
      "refused": {
       "type": "uint64",
       "id": 7
      },
      "unanswered": {
       "type": "uint64",
       "id": 8
      }
     }
    },
    "ServiceTotals": {
     "edition": "proto2",
     "fields": {
      "services": {
       "type": "uint32",
       "id": 1
      },
      "backends": {
       "type": "uint32",
       "id": 2
      },
      "avoided": {
       "type": "uint32",
       "id": 3
      },
      "without": {
       "type": "uint32",
       "id": 4
      },
      "ignored": {
       "rule": "repeated",
       "type": "Count",
       "id": 5
      },
      "error": {
       "type": "string",
       "id": 6
      }
     }
    },
    "EndpointSource": {
     "edition": "proto2",
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "where": {
       "type": "string",
       "id": 2
      },
      "state": {
       "type": "string",
       "id": 3
      },
      "endpoints": {
       "type": "uint64",
       "id": 4
      },
      "age": {
       "type": "double",
       "id": 5
      },
      "error": {
       "type": "string",
       "id": 6
      },
      "duplicates": {
       "type": "uint64",
       "id": 7
      },
      "ignored": {
       "rule": "repeated",
       "type": "Count",
       "id": 8
      }
     }
    },
    "Event": {
     "edition": "proto2",
     "fields": {
      "time": {
       "type": "double",
       "id": 1
      },
      "type": {
       "type": "string",
       "id": 2
      },
      "container_id": {
       "type": "mesos.ContainerID",
       "id": 3
      },
      "message": {
       "type": "string",
       "id": 4
      },
      "denial": {
       "type": "Denial",
       "id": 5
      },
      "lost": {
       "type": "uint64",
       "id": 6
      }
     },
     "nested": {
      "Denial": {
       "fields": {
        "reason": {
         "type": "string",
         "id": 1
        },
        "protocol": {
         "type": "string",
         "id": 2
        },
        "family": {
         "type": "string",
         "id": 3
        },
        "address": {
         "type": "string",
         "id": 4
        },
        "port": {
         "type": "uint32",
         "id": 5
        },
        "pid": {
         "type": "uint32",
         "id": 6
        },
        "uid": {
         "type": "uint32",
         "id": 7
        },
        "process": {
         "type": "string",
         "id": 8
        },
        "unreachable": {
         "type": "bool",
         "id": 9
        },
        "owner": {
         "type": "string",
         "id": 10
        },
        "boot_time": {
         "type": "uint64",
         "id": 11
        },
        "option": {
         "type": "string",
         "id": 12
        },
        "dscp": {
         "type": "uint32",
         "id": 13
        },
        "asked_port": {
         "type": "uint32",
         "id": 14
        },
        "file": {
         "type": "File",
         "id": 20
        },
        "rule": {
         "type": "uint32",
         "id": 30
        },
        "rule_name": {
         "type": "string",
         "id": 31
        }
       }
      },
      "File": {
       "fields": {
        "operation": {
         "type": "string",
         "id": 1
        },
        "rule": {
         "type": "string",
         "id": 2
        },
        "path": {
         "type": "string",
         "id": 3
        },
        "within": {
         "type": "bool",
         "id": 4
        },
        "device": {
         "type": "string",
         "id": 5
        },
        "inode": {
         "type": "uint64",
         "id": 6
        }
       }
      }
     }
    },
    "DaemonStatus": {
     "edition": "proto2",
     "fields": {
      "version": {
       "type": "string",
       "id": 1
      },
      "instance": {
       "type": "string",
       "id": 2
      },
      "pid": {
       "type": "uint32",
       "id": 3
      },
      "started_at": {
       "type": "double",
       "id": 4
      },
      "containers": {
       "rule": "repeated",
       "type": "Count",
       "id": 5
      },
      "memory_bytes": {
       "type": "uint64",
       "id": 6
      },
      "agent": {
       "type": "Call.Handshake",
       "id": 7
      },
      "config_file": {
       "type": "string",
       "id": 8
      },
      "config_error": {
       "type": "string",
       "id": 9
      },
      "config_read_at": {
       "type": "double",
       "id": 10
      },
      "events": {
       "rule": "repeated",
       "type": "Event",
       "id": 11
      },
      "calls": {
       "type": "uint32",
       "id": 12
      },
      "streams": {
       "type": "uint32",
       "id": 13
      },
      "kernel": {
       "type": "string",
       "id": 14
      },
      "programs": {
       "type": "string",
       "id": 15
      },
      "streams_dropped": {
       "type": "uint64",
       "id": 16
      },
      "break_glass": {
       "type": "string",
       "id": 17
      },
      "operator_address": {
       "type": "string",
       "id": 18
      },
      "destinations": {
       "rule": "repeated",
       "type": "HeldDestination",
       "id": 50
      },
      "endpoint_sources": {
       "rule": "repeated",
       "type": "EndpointSource",
       "id": 30
      },
      "endpoints_error": {
       "type": "string",
       "id": 31
      },
      "services": {
       "type": "ServiceTotals",
       "id": 32
      },
      "self_check": {
       "type": "SelfCheck",
       "id": 40
      }
     }
    },
    "SelfCheck": {
     "edition": "proto2",
     "fields": {
      "time": {
       "type": "double",
       "id": 1
      },
      "containers": {
       "type": "uint32",
       "id": 2
      },
      "repaired": {
       "type": "uint64",
       "id": 3
      },
      "failures": {
       "rule": "repeated",
       "type": "Failure",
       "id": 4
      }
     },
     "nested": {
      "Failure": {
       "fields": {
        "container": {
         "type": "string",
         "id": 1
        },
        "message": {
         "type": "string",
         "id": 2
        }
       }
      }
     }
    }
   }
  },
  "mesos": {
   "nested": {
    "Labels": {
     "edition": "proto2",
     "fields": {
      "labels": {
       "rule": "repeated",
       "type": "Label",
       "id": 1
      }
     }
    },
    "Label": {
     "edition": "proto2",
     "fields": {
      "key": {
       "rule": "required",
       "type": "string",
       "id": 1
      },
      "value": {
       "type": "string",
       "id": 2
      }
     }
    },
    "FrameworkID": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "string",
       "id": 1
      }
     }
    },
    "SlaveID": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "string",
       "id": 1
      }
     }
    },
    "TaskID": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "string",
       "id": 1
      }
     }
    },
    "ExecutorID": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "string",
       "id": 1
      }
     }
    },
    "ContainerID": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "string",
       "id": 1
      },
      "parent": {
       "type": "ContainerID",
       "id": 2
      }
     }
    },
    "ResourceProviderID": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "string",
       "id": 1
      }
     }
    },
    "Address": {
     "edition": "proto2",
     "fields": {
      "hostname": {
       "type": "string",
       "id": 1
      },
      "ip": {
       "type": "string",
       "id": 2
      },
      "port": {
       "rule": "required",
       "type": "int32",
       "id": 3
      }
     }
    },
    "Value": {
     "edition": "proto2",
     "fields": {
      "type": {
       "rule": "required",
       "type": "Type",
       "id": 1
      },
      "scalar": {
       "type": "Scalar",
       "id": 2
      },
      "ranges": {
       "type": "Ranges",
       "id": 3
      },
      "set": {
       "type": "Set",
       "id": 4
      },
      "text": {
       "type": "Text",
       "id": 5
      }
     },
     "nested": {
      "Type": {
       "values": {
        "SCALAR": 0,
        "RANGES": 1,
        "SET": 2,
        "TEXT": 3
       }
      },
      "Scalar": {
       "fields": {
        "value": {
         "rule": "required",
         "type": "double",
         "id": 1
        }
       }
      },
      "Range": {
       "fields": {
        "begin": {
         "rule": "required",
         "type": "uint64",
         "id": 1
        },
        "end": {
         "rule": "required",
         "type": "uint64",
         "id": 2
        }
       }
      },
      "Ranges": {
       "fields": {
        "range": {
         "rule": "repeated",
         "type": "Range",
         "id": 1
        }
       }
      },
      "Set": {
       "fields": {
        "item": {
         "rule": "repeated",
         "type": "string",
         "id": 1
        }
       }
      },
      "Text": {
       "fields": {
        "value": {
         "rule": "required",
         "type": "string",
         "id": 1
        }
       }
      }
     }
    },
    "Resource": {
     "edition": "proto2",
     "fields": {
      "name": {
       "rule": "required",
       "type": "string",
       "id": 1
      },
      "type": {
       "rule": "required",
       "type": "Value.Type",
       "id": 2
      },
      "scalar": {
       "type": "Value.Scalar",
       "id": 3
      },
      "ranges": {
       "type": "Value.Ranges",
       "id": 4
      },
      "set": {
       "type": "Value.Set",
       "id": 5
      },
      "role": {
       "type": "string",
       "id": 6,
       "options": {
        "default": "*",
        "deprecated": true
       }
      },
      "reservation": {
       "type": "ReservationInfo",
       "id": 8
      },
      "revocable": {
       "type": "RevocableInfo",
       "id": 9
      },
      "shared": {
       "type": "SharedInfo",
       "id": 10
      },
      "allocation_info": {
       "type": "AllocationInfo",
       "id": 11
      },
      "provider_id": {
       "type": "ResourceProviderID",
       "id": 12
      },
      "reservations": {
       "rule": "repeated",
       "type": "ReservationInfo",
       "id": 13
      }
     },
     "nested": {
      "AllocationInfo": {
       "fields": {
        "role": {
         "type": "string",
         "id": 1
        }
       }
      },
      "ReservationInfo": {
       "fields": {
        "principal": {
         "type": "string",
         "id": 1
        },
        "labels": {
         "type": "Labels",
         "id": 2
        },
        "role": {
         "type": "string",
         "id": 3
        },
        "type": {
         "type": "Type",
         "id": 4
        }
       },
       "nested": {
        "Type": {
         "values": {
          "UNKNOWN": 0,
          "STATIC": 1,
          "DYNAMIC": 2
         }
        }
       }
      },
      "RevocableInfo": {
       "fields": {}
      },
      "SharedInfo": {
       "fields": {}
      }
     }
    },
    "Environment": {
     "edition": "proto2",
     "fields": {
      "variables": {
       "rule": "repeated",
       "type": "Variable",
       "id": 1
      }
     },
     "nested": {
      "Variable": {
       "fields": {
        "name": {
         "rule": "required",
         "type": "string",
         "id": 1
        },
        "value": {
         "type": "string",
         "id": 2
        },
        "type": {
         "type": "Type",
         "id": 3,
         "options": {
          "default": "VALUE"
         }
        }
       },
       "nested": {
        "Type": {
         "values": {
          "UNKNOWN": 0,
          "VALUE": 1,
          "SECRET": 2
         }
        }
       }
      }
     }
    },
    "CommandInfo": {
     "edition": "proto2",
     "fields": {
      "uris": {
       "rule": "repeated",
       "type": "URI",
       "id": 1
      },
      "environment": {
       "type": "Environment",
       "id": 2
      },
      "value": {
       "type": "string",
       "id": 3
      },
      "user": {
       "type": "string",
       "id": 5
      },
      "shell": {
       "type": "bool",
       "id": 6,
       "options": {
        "default": true
       }
      },
      "arguments": {
       "rule": "repeated",
       "type": "string",
       "id": 7
      }
     },
     "nested": {
      "URI": {
       "fields": {
        "value": {
         "rule": "required",
         "type": "string",
         "id": 1
        },
        "executable": {
         "type": "bool",
         "id": 2
        },
        "extract": {
         "type": "bool",
         "id": 3,
         "options": {
          "default": true
         }
        },
        "cache": {
         "type": "bool",
         "id": 4
        },
        "output_file": {
         "type": "string",
         "id": 5
        }
       }
      }
     }
    },
    "Port": {
     "edition": "proto2",
     "fields": {
      "number": {
       "rule": "required",
       "type": "uint32",
       "id": 1
      },
      "name": {
       "type": "string",
       "id": 2
      },
      "protocol": {
       "type": "string",
       "id": 3
      },
      "visibility": {
       "type": "DiscoveryInfo.Visibility",
       "id": 4
      },
      "labels": {
       "type": "Labels",
       "id": 5
      }
     }
    },
    "Ports": {
     "edition": "proto2",
     "fields": {
      "ports": {
       "rule": "repeated",
       "type": "Port",
       "id": 1
      }
     }
    },
    "DiscoveryInfo": {
     "edition": "proto2",
     "fields": {
      "visibility": {
       "rule": "required",
       "type": "Visibility",
       "id": 1
      },
      "name": {
       "type": "string",
       "id": 2
      },
      "environment": {
       "type": "string",
       "id": 3
      },
      "location": {
       "type": "string",
       "id": 4
      },
      "version": {
       "type": "string",
       "id": 5
      },
      "ports": {
       "type": "Ports",
       "id": 6
      },
      "labels": {
       "type": "Labels",
       "id": 7
      }
     },
     "nested": {
      "Visibility": {
       "values": {
        "FRAMEWORK": 0,
        "CLUSTER": 1,
        "EXTERNAL": 2
       }
      }
     }
    },
    "NetworkInfo": {
     "edition": "proto2",
     "fields": {
      "groups": {
       "rule": "repeated",
       "type": "string",
       "id": 3
      },
      "labels": {
       "type": "Labels",
       "id": 4
      },
      "ip_addresses": {
       "rule": "repeated",
       "type": "IPAddress",
       "id": 5
      },
      "name": {
       "type": "string",
       "id": 6
      },
      "port_mappings": {
       "rule": "repeated",
       "type": "PortMapping",
       "id": 7
      }
     },
     "nested": {
      "Protocol": {
       "values": {
        "IPv4": 1,
        "IPv6": 2
       }
      },
      "IPAddress": {
       "fields": {
        "protocol": {
         "type": "Protocol",
         "id": 1,
         "options": {
          "default": "IPv4"
         }
        },
        "ip_address": {
         "type": "string",
         "id": 2
        }
       }
      },
      "PortMapping": {
       "fields": {
        "host_port": {
         "rule": "required",
         "type": "uint32",
         "id": 1
        },
        "container_port": {
         "rule": "required",
         "type": "uint32",
         "id": 2
        },
        "protocol": {
         "type": "string",
         "id": 3
        }
       }
      }
     }
    },
    "CapabilityInfo": {
     "edition": "proto2",
     "fields": {
      "capabilities": {
       "rule": "repeated",
       "type": "Capability",
       "id": 1
      }
     },
     "nested": {
      "Capability": {
       "values": {
        "UNKNOWN": 0,
        "CHOWN": 1000,
        "DAC_OVERRIDE": 1001,
        "DAC_READ_SEARCH": 1002,
        "FOWNER": 1003,
        "FSETID": 1004,
        "KILL": 1005,
        "SETGID": 1006,
        "SETUID": 1007,
        "SETPCAP": 1008,
        "LINUX_IMMUTABLE": 1009,
        "NET_BIND_SERVICE": 1010,
        "NET_BROADCAST": 1011,
        "NET_ADMIN": 1012,
        "NET_RAW": 1013,
        "IPC_LOCK": 1014,
        "IPC_OWNER": 1015,
        "SYS_MODULE": 1016,
        "SYS_RAWIO": 1017,
        "SYS_CHROOT": 1018,
        "SYS_PTRACE": 1019,
        "SYS_PACCT": 1020,
        "SYS_ADMIN": 1021,
        "SYS_BOOT": 1022,
        "SYS_NICE": 1023,
        "SYS_RESOURCE": 1024,
        "SYS_TIME": 1025,
        "SYS_TTY_CONFIG": 1026,
        "MKNOD": 1027,
        "LEASE": 1028,
        "AUDIT_WRITE": 1029,
        "AUDIT_CONTROL": 1030,
        "SETFCAP": 1031,
        "MAC_OVERRIDE": 1032,
        "MAC_ADMIN": 1033,
        "SYSLOG": 1034,
        "WAKE_ALARM": 1035,
        "BLOCK_SUSPEND": 1036,
        "AUDIT_READ": 1037,
        "PERFMON": 1038,
        "BPF": 1039,
        "CHECKPOINT_RESTORE": 1040
       }
      }
     }
    },
    "LinuxInfo": {
     "edition": "proto2",
     "fields": {
      "capability_info": {
       "type": "CapabilityInfo",
       "id": 1,
       "options": {
        "deprecated": true
       }
      },
      "bounding_capabilities": {
       "type": "CapabilityInfo",
       "id": 2
      },
      "effective_capabilities": {
       "type": "CapabilityInfo",
       "id": 3
      }
     }
    },
    "ContainerInfo": {
     "edition": "proto2",
     "fields": {
      "type": {
       "rule": "required",
       "type": "Type",
       "id": 1
      },
      "hostname": {
       "type": "string",
       "id": 4
      },
      "mesos": {
       "type": "MesosInfo",
       "id": 5
      },
      "network_infos": {
       "rule": "repeated",
       "type": "NetworkInfo",
       "id": 7
      },
      "linux_info": {
       "type": "LinuxInfo",
       "id": 8
      }
     },
     "nested": {
      "Type": {
       "values": {
        "DOCKER": 1,
        "MESOS": 2
       }
      },
      "MesosInfo": {
       "fields": {}
      }
     }
    },
    "ExecutorInfo": {
     "edition": "proto2",
     "fields": {
      "executor_id": {
       "rule": "required",
       "type": "ExecutorID",
       "id": 1
      },
      "data": {
       "type": "bytes",
       "id": 4
      },
      "resources": {
       "rule": "repeated",
       "type": "Resource",
       "id": 5
      },
      "command": {
       "type": "CommandInfo",
       "id": 7
      },
      "framework_id": {
       "type": "FrameworkID",
       "id": 8
      },
      "name": {
       "type": "string",
       "id": 9
      },
      "source": {
       "type": "string",
       "id": 10,
       "options": {
        "deprecated": true
       }
      },
      "container": {
       "type": "ContainerInfo",
       "id": 11
      },
      "discovery": {
       "type": "DiscoveryInfo",
       "id": 12
      },
      "labels": {
       "type": "Labels",
       "id": 14
      },
      "type": {
       "type": "Type",
       "id": 15
      }
     },
     "nested": {
      "Type": {
       "values": {
        "UNKNOWN": 0,
        "DEFAULT": 1,
        "CUSTOM": 2
       }
      }
     }
    },
    "TaskInfo": {
     "edition": "proto2",
     "fields": {
      "name": {
       "rule": "required",
       "type": "string",
       "id": 1
      },
      "task_id": {
       "rule": "required",
       "type": "TaskID",
       "id": 2
      },
      "slave_id": {
       "rule": "required",
       "type": "SlaveID",
       "id": 3
      },
      "resources": {
       "rule": "repeated",
       "type": "Resource",
       "id": 4
      },
      "executor": {
       "type": "ExecutorInfo",
       "id": 5
      },
      "data": {
       "type": "bytes",
       "id": 6
      },
      "command": {
       "type": "CommandInfo",
       "id": 7
      },
      "container": {
       "type": "ContainerInfo",
       "id": 9
      },
      "labels": {
       "type": "Labels",
       "id": 10
      },
      "discovery": {
       "type": "DiscoveryInfo",
       "id": 11
      },
      "limits": {
       "keyType": "string",
       "type": "Value.Scalar",
       "id": 15
      }
     }
    },
    "CgroupInfo": {
     "edition": "proto2",
     "fields": {
      "net_cls": {
       "type": "NetCls",
       "id": 1
      }
     },
     "nested": {
      "NetCls": {
       "fields": {
        "classid": {
         "type": "uint32",
         "id": 1
        }
       }
      }
     }
    },
    "ContainerStatus": {
     "edition": "proto2",
     "fields": {
      "network_infos": {
       "rule": "repeated",
       "type": "NetworkInfo",
       "id": 1
      },
      "cgroup_info": {
       "type": "CgroupInfo",
       "id": 2
      },
      "executor_pid": {
       "type": "uint32",
       "id": 3
      },
      "container_id": {
       "type": "ContainerID",
       "id": 4
      }
     }
    },
    "TrafficControlStatistics": {
     "edition": "proto2",
     "fields": {
      "id": {
       "rule": "required",
       "type": "string",
       "id": 1
      },
      "backlog": {
       "type": "uint64",
       "id": 2
      },
      "bytes": {
       "type": "uint64",
       "id": 3
      },
      "drops": {
       "type": "uint64",
       "id": 4
      },
      "overlimits": {
       "type": "uint64",
       "id": 5
      },
      "packets": {
       "type": "uint64",
       "id": 6
      },
      "qlen": {
       "type": "uint64",
       "id": 7
      },
      "ratebps": {
       "type": "uint64",
       "id": 8
      },
      "ratepps": {
       "type": "uint64",
       "id": 9
      },
      "requeues": {
       "type": "uint64",
       "id": 10
      }
     }
    },
    "IpStatistics": {
     "edition": "proto2",
     "fields": {
      "Forwarding": {
       "type": "int64",
       "id": 1
      },
      "DefaultTTL": {
       "type": "int64",
       "id": 2
      },
      "InReceives": {
       "type": "int64",
       "id": 3
      },
      "InHdrErrors": {
       "type": "int64",
       "id": 4
      },
      "InAddrErrors": {
       "type": "int64",
       "id": 5
      },
      "ForwDatagrams": {
       "type": "int64",
       "id": 6
      },
      "InUnknownProtos": {
       "type": "int64",
       "id": 7
      },
      "InDiscards": {
       "type": "int64",
       "id": 8
      },
      "InDelivers": {
       "type": "int64",
       "id": 9
      },
      "OutRequests": {
       "type": "int64",
       "id": 10
      },
      "OutDiscards": {
       "type": "int64",
       "id": 11
      },
      "OutNoRoutes": {
       "type": "int64",
       "id": 12
      },
      "ReasmTimeout": {
       "type": "int64",
       "id": 13
      },
      "ReasmReqds": {
       "type": "int64",
       "id": 14
      },
      "ReasmOKs": {
       "type": "int64",
       "id": 15
      },
      "ReasmFails": {
       "type": "int64",
       "id": 16
      },
      "FragOKs": {
       "type": "int64",
       "id": 17
      },
      "FragFails": {
       "type": "int64",
       "id": 18
      },
      "FragCreates": {
       "type": "int64",
       "id": 19
      }
     }
    },
    "IcmpStatistics": {
     "edition": "proto2",
     "fields": {
      "InMsgs": {
       "type": "int64",
       "id": 1
      },
      "InErrors": {
       "type": "int64",
       "id": 2
      },
      "InCsumErrors": {
       "type": "int64",
       "id": 3
      },
      "InDestUnreachs": {
       "type": "int64",
       "id": 4
      },
      "InTimeExcds": {
       "type": "int64",
       "id": 5
      },
      "InParmProbs": {
       "type": "int64",
       "id": 6
      },
      "InSrcQuenchs": {
       "type": "int64",
       "id": 7
      },
      "InRedirects": {
       "type": "int64",
       "id": 8
      },
      "InEchos": {
       "type": "int64",
       "id": 9
      },
      "InEchoReps": {
       "type": "int64",
       "id": 10
      },
      "InTimestamps": {
       "type": "int64",
       "id": 11
      },
      "InTimestampReps": {
       "type": "int64",
       "id": 12
      },
      "InAddrMasks": {
       "type": "int64",
       "id": 13
      },
      "InAddrMaskReps": {
       "type": "int64",
       "id": 14
      },
      "OutMsgs": {
       "type": "int64",
       "id": 15
      },
      "OutErrors": {
       "type": "int64",
       "id": 16
      },
      "OutDestUnreachs": {
       "type": "int64",
       "id": 17
      },
      "OutTimeExcds": {
       "type": "int64",
       "id": 18
      },
      "OutParmProbs": {
       "type": "int64",
       "id": 19
      },
      "OutSrcQuenchs": {
       "type": "int64",
       "id": 20
      },
      "OutRedirects": {
       "type": "int64",
       "id": 21
      },
      "OutEchos": {
       "type": "int64",
       "id": 22
      },
      "OutEchoReps": {
       "type": "int64",
       "id": 23
      },
      "OutTimestamps": {
       "type": "int64",
       "id": 24
      },
      "OutTimestampReps": {
       "type": "int64",
       "id": 25
      },
      "OutAddrMasks": {
       "type": "int64",
       "id": 26
      },
      "OutAddrMaskReps": {
       "type": "int64",
       "id": 27
      }
     }
    },
    "TcpStatistics": {
     "edition": "proto2",
     "fields": {
      "RtoAlgorithm": {
       "type": "int64",
       "id": 1
      },
      "RtoMin": {
       "type": "int64",
       "id": 2
      },
      "RtoMax": {
       "type": "int64",
       "id": 3
      },
      "MaxConn": {
       "type": "int64",
       "id": 4
      },
      "ActiveOpens": {
       "type": "int64",
       "id": 5
      },
      "PassiveOpens": {
       "type": "int64",
       "id": 6
      },
      "AttemptFails": {
       "type": "int64",
       "id": 7
      },
      "EstabResets": {
       "type": "int64",
       "id": 8
      },
      "CurrEstab": {
       "type": "int64",
       "id": 9
      },
      "InSegs": {
       "type": "int64",
       "id": 10
      },
      "OutSegs": {
       "type": "int64",
       "id": 11
      },
      "RetransSegs": {
       "type": "int64",
       "id": 12
      },
      "InErrs": {
       "type": "int64",
       "id": 13
      },
      "OutRsts": {
       "type": "int64",
       "id": 14
      },
      "InCsumErrors": {
       "type": "int64",
       "id": 15
      }
     }
    },
    "UdpStatistics": {
     "edition": "proto2",
     "fields": {
      "InDatagrams": {
       "type": "int64",
       "id": 1
      },
      "NoPorts": {
       "type": "int64",
       "id": 2
      },
      "InErrors": {
       "type": "int64",
       "id": 3
      },
      "OutDatagrams": {
       "type": "int64",
       "id": 4
      },
      "RcvbufErrors": {
       "type": "int64",
       "id": 5
      },
      "SndbufErrors": {
       "type": "int64",
       "id": 6
      },
      "InCsumErrors": {
       "type": "int64",
       "id": 7
      },
      "IgnoredMulti": {
       "type": "int64",
       "id": 8
      }
     }
    },
    "SNMPStatistics": {
     "edition": "proto2",
     "fields": {
      "ip_stats": {
       "type": "IpStatistics",
       "id": 1
      },
      "icmp_stats": {
       "type": "IcmpStatistics",
       "id": 2
      },
      "tcp_stats": {
       "type": "TcpStatistics",
       "id": 3
      },
      "udp_stats": {
       "type": "UdpStatistics",
       "id": 4
      }
     }
    },
    "ResourceStatistics": {
     "edition": "proto2",
     "fields": {
      "timestamp": {
       "rule": "required",
       "type": "double",
       "id": 1
      },
      "net_rx_packets": {
       "type": "uint64",
       "id": 14
      },
      "net_rx_bytes": {
       "type": "uint64",
       "id": 15
      },
      "net_rx_errors": {
       "type": "uint64",
       "id": 16
      },
      "net_rx_dropped": {
       "type": "uint64",
       "id": 17
      },
      "net_tx_packets": {
       "type": "uint64",
       "id": 18
      },
      "net_tx_bytes": {
       "type": "uint64",
       "id": 19
      },
      "net_tx_errors": {
       "type": "uint64",
       "id": 20
      },
      "net_tx_dropped": {
       "type": "uint64",
       "id": 21
      },
      "net_tcp_rtt_microsecs_p50": {
       "type": "double",
       "id": 22
      },
      "net_tcp_rtt_microsecs_p90": {
       "type": "double",
       "id": 23
      },
      "net_tcp_rtt_microsecs_p95": {
       "type": "double",
       "id": 24
      },
      "net_tcp_rtt_microsecs_p99": {
       "type": "double",
       "id": 25
      },
      "net_tcp_active_connections": {
       "type": "double",
       "id": 28
      },
      "net_tcp_time_wait_connections": {
       "type": "double",
       "id": 29
      },
      "processes": {
       "type": "uint32",
       "id": 30
      },
      "threads": {
       "type": "uint32",
       "id": 31
      },
      "net_traffic_control_statistics": {
       "rule": "repeated",
       "type": "TrafficControlStatistics",
       "id": 35
      },
      "net_snmp_statistics": {
       "type": "SNMPStatistics",
       "id": 42
      },
      "net_tx_rate_limit": {
       "type": "uint64",
       "id": 46
      },
      "net_tx_burst_rate_limit": {
       "type": "uint64",
       "id": 47
      },
      "net_tx_burst_size": {
       "type": "uint64",
       "id": 48
      },
      "net_rx_rate_limit": {
       "type": "uint64",
       "id": 49
      },
      "net_rx_burst_rate_limit": {
       "type": "uint64",
       "id": 50
      },
      "net_rx_burst_size": {
       "type": "uint64",
       "id": 51
      },
      "net_rate_statistics": {
       "type": "RateStatistics",
       "id": 54
      },
      "net_ephemeral_ports": {
       "type": "Value.Range",
       "id": 55
      }
     },
     "nested": {
      "RatePercentiles": {
       "fields": {
        "min": {
         "type": "uint64",
         "id": 1
        },
        "max": {
         "type": "uint64",
         "id": 2
        },
        "p50": {
         "type": "uint64",
         "id": 3
        },
        "p90": {
         "type": "uint64",
         "id": 4
        },
        "p95": {
         "type": "uint64",
         "id": 5
        },
        "p99": {
         "type": "uint64",
         "id": 6
        },
        "p999": {
         "type": "uint64",
         "id": 7
        },
        "p9999": {
         "type": "uint64",
         "id": 8
        },
        "samples": {
         "type": "uint64",
         "id": 9
        }
       }
      },
      "RateStatistics": {
       "fields": {
        "rx_rate": {
         "type": "RatePercentiles",
         "id": 1
        },
        "rx_packet_rate": {
         "type": "RatePercentiles",
         "id": 2
        },
        "rx_drop_rate": {
         "type": "RatePercentiles",
         "id": 3
        },
        "rx_error_rate": {
         "type": "RatePercentiles",
         "id": 4
        },
        "tx_rate": {
         "type": "RatePercentiles",
         "id": 5
        },
        "tx_packet_rate": {
         "type": "RatePercentiles",
         "id": 6
        },
        "tx_drop_rate": {
         "type": "RatePercentiles",
         "id": 7
        },
        "tx_error_rate": {
         "type": "RatePercentiles",
         "id": 8
        },
        "sampling_window_secs": {
         "type": "double",
         "id": 9
        },
        "sampling_interval_secs": {
         "type": "double",
         "id": 10
        }
       }
      }
     }
    },
    "TaskStatus": {
     "edition": "proto2",
     "fields": {},
     "nested": {
      "Reason": {
       "values": {
        "REASON_COMMAND_EXECUTOR_FAILED": 0,
        "REASON_EXECUTOR_TERMINATED": 1,
        "REASON_EXECUTOR_UNREGISTERED": 2,
        "REASON_FRAMEWORK_REMOVED": 3,
        "REASON_GC_ERROR": 4,
        "REASON_INVALID_FRAMEWORKID": 5,
        "REASON_INVALID_OFFERS": 6,
        "REASON_MASTER_DISCONNECTED": 7,
        "REASON_CONTAINER_LIMITATION_MEMORY": 8,
        "REASON_RECONCILIATION": 9,
        "REASON_SLAVE_DISCONNECTED": 10,
        "REASON_SLAVE_REMOVED": 11,
        "REASON_SLAVE_RESTARTED": 12,
        "REASON_SLAVE_UNKNOWN": 13,
        "REASON_TASK_INVALID": 14,
        "REASON_TASK_UNAUTHORIZED": 15,
        "REASON_TASK_UNKNOWN": 16,
        "REASON_CONTAINER_PREEMPTED": 17,
        "REASON_RESOURCES_UNKNOWN": 18,
        "REASON_CONTAINER_LIMITATION": 19,
        "REASON_CONTAINER_LIMITATION_DISK": 20,
        "REASON_CONTAINER_LAUNCH_FAILED": 21,
        "REASON_CONTAINER_UPDATE_FAILED": 22,
        "REASON_EXECUTOR_REGISTRATION_TIMEOUT": 23,
        "REASON_EXECUTOR_REREGISTRATION_TIMEOUT": 24,
        "REASON_TASK_GROUP_INVALID": 25,
        "REASON_TASK_GROUP_UNAUTHORIZED": 26,
        "REASON_IO_SWITCHBOARD_EXITED": 27,
        "REASON_TASK_CHECK_STATUS_UPDATED": 28,
        "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED": 29,
        "REASON_TASK_KILLED_DURING_LAUNCH": 30,
        "REASON_SLAVE_REMOVED_BY_OPERATOR": 31,
        "REASON_SLAVE_REREGISTERED": 32,
        "REASON_MAX_COMPLETION_TIME_REACHED": 33,
        "REASON_SLAVE_DRAINING": 34
       }
      }
     }
    },
    "slave": {
     "nested": {
      "ContainerClass": {
       "edition": "proto2",
       "values": {
        "DEFAULT": 1,
        "DEBUG": 2
       }
      },
      "ContainerLimitation": {
       "edition": "proto2",
       "fields": {
        "resources": {
         "rule": "repeated",
         "type": "Resource",
         "id": 1
        },
        "message": {
         "type": "string",
         "id": 2
        },
        "reason": {
         "type": "TaskStatus.Reason",
         "id": 3
        }
       }
      },
      "ContainerState": {
       "edition": "proto2",
       "fields": {
        "executor_info": {
         "type": "ExecutorInfo",
         "id": 1
        },
        "container_id": {
         "rule": "required",
         "type": "ContainerID",
         "id": 2
        },
        "pid": {
         "rule": "required",
         "type": "uint64",
         "id": 3
        },
        "directory": {
         "rule": "required",
         "type": "string",
         "id": 4
        },
        "ephemeral_volumes": {
         "rule": "repeated",
         "type": "string",
         "id": 5
        },
        "container_info": {
         "type": "ContainerInfo",
         "id": 6
        }
       }
      },
      "ContainerConfig": {
       "edition": "proto2",
       "fields": {
        "directory": {
         "rule": "required",
         "type": "string",
         "id": 3
        },
        "user": {
         "type": "string",
         "id": 4
        },
        "rootfs": {
         "type": "string",
         "id": 5
        },
        "executor_info": {
         "type": "ExecutorInfo",
         "id": 8
        },
        "task_info": {
         "type": "TaskInfo",
         "id": 9
        },
        "command_info": {
         "rule": "required",
         "type": "CommandInfo",
         "id": 11
        },
        "container_info": {
         "type": "ContainerInfo",
         "id": 12
        },
        "resources": {
         "rule": "repeated",
         "type": "Resource",
         "id": 13
        },
        "container_class": {
         "type": "ContainerClass",
         "id": 14
        },
        "ephemeral_volumes": {
         "rule": "repeated",
         "type": "string",
         "id": 15
        },
        "limits": {
         "keyType": "string",
         "type": "Value.Scalar",
         "id": 16
        }
       }
      },
      "ContainerMountInfo": {
       "edition": "proto2",
       "fields": {
        "target": {
         "rule": "required",
         "type": "string",
         "id": 1
        },
        "source": {
         "type": "string",
         "id": 2
        },
        "type": {
         "type": "string",
         "id": 3
        },
        "flags": {
         "type": "uint32",
         "id": 4
        },
        "options": {
         "type": "string",
         "id": 5
        }
       }
      },
      "ContainerFileOperation": {
       "edition": "proto2",
       "oneofs": {
        "parameters": {
         "oneof": [
          "symlink",
          "mkdir",
          "rename",
          "mount"
         ]
        }
       },
       "fields": {
        "operation": {
         "type": "Operation",
         "id": 1
        },
        "symlink": {
         "type": "Symlink",
         "id": 2
        },
        "mkdir": {
         "type": "Mkdir",
         "id": 3
        },
        "rename": {
         "type": "Rename",
         "id": 4
        },
        "mount": {
         "type": "ContainerMountInfo",
         "id": 5
        }
       },
       "nested": {
        "Operation": {
         "values": {
          "SYMLINK": 1,
          "MOUNT": 2,
          "RENAME": 3,
          "MKDIR": 4
         }
        },
        "Symlink": {
         "fields": {
          "source": {
           "type": "string",
           "id": 1
          },
          "target": {
           "type": "string",
           "id": 2
          }
         }
        },
        "Rename": {
         "fields": {
          "source": {
           "type": "string",
           "id": 1
          },
          "target": {
           "type": "string",
           "id": 2
          }
         }
        },
        "Mkdir": {
         "fields": {
          "target": {
           "type": "string",
           "id": 1
          },
          "recursive": {
           "type": "bool",
           "id": 2
          }
         }
        }
       }
      },
      "ContainerLaunchInfo": {
       "edition": "proto2",
       "fields": {
        "pre_exec_commands": {
         "rule": "repeated",
         "type": "CommandInfo",
         "id": 1,
         "options": {
          "deprecated": true
         }
        },
        "environment": {
         "type": "Environment",
         "id": 2
        },
        "rootfs": {
         "type": "string",
         "id": 3
        },
        "clone_namespaces": {
         "rule": "repeated",
         "type": "int32",
         "id": 4
        },
        "command": {
         "type": "CommandInfo",
         "id": 5
        },
        "working_directory": {
         "type": "string",
         "id": 6
        },
        "enter_namespaces": {
         "rule": "repeated",
         "type": "int32",
         "id": 9
        },
        "user": {
         "type": "string",
         "id": 10
        },
        "tty_slave_path": {
         "type": "string",
         "id": 14
        },
        "task_environment": {
         "type": "Environment",
         "id": 15
        },
        "bounding_capabilities": {
         "type": "CapabilityInfo",
         "id": 16
        },
        "mounts": {
         "rule": "repeated",
         "type": "ContainerMountInfo",
         "id": 17
        },
        "supplementary_groups": {
         "rule": "repeated",
         "type": "uint32",
         "id": 19
        },
        "task_supplementary_groups": {
         "rule": "repeated",
         "type": "uint32",
         "id": 20
        },
        "masked_paths": {
         "rule": "repeated",
         "type": "string",
         "id": 21
        },
        "file_operations": {
         "rule": "repeated",
         "type": "ContainerFileOperation",
         "id": 22
        },
        "no_new_privileges": {
         "type": "bool",
         "id": 23
        }
       }
      }
     }
    },
    "v1": {
     "nested": {
      "master": {
       "nested": {
        "TaskState": {
         "edition": "proto2",
         "values": {
          "TASK_STARTING": 0,
          "TASK_RUNNING": 1,
          "TASK_FINISHED": 2,
          "TASK_FAILED": 3,
          "TASK_KILLED": 4,
          "TASK_LOST": 5,
          "TASK_STAGING": 6,
          "TASK_ERROR": 7,
          "TASK_KILLING": 8,
          "TASK_DROPPED": 9,
          "TASK_UNREACHABLE": 10,
          "TASK_GONE": 11,
          "TASK_GONE_BY_OPERATOR": 12,
          "TASK_UNKNOWN": 13
         }
        },
        "TaskStatus": {
         "edition": "proto2",
         "fields": {
          "task_id": {
           "type": "mesos.TaskID",
           "id": 1
          },
          "healthy": {
           "type": "bool",
           "id": 8
          },
          "container_status": {
           "type": "mesos.ContainerStatus",
           "id": 13
          }
         }
        },
        "Task": {
         "edition": "proto2",
         "fields": {
          "task_id": {
           "rule": "required",
           "type": "mesos.TaskID",
           "id": 2
          },
          "framework_id": {
           "rule": "required",
           "type": "mesos.FrameworkID",
           "id": 3
          },
          "executor_id": {
           "type": "mesos.ExecutorID",
           "id": 4
          },
          "agent_id": {
           "rule": "required",
           "type": "mesos.SlaveID",
           "id": 5
          },
          "state": {
           "type": "TaskState",
           "id": 6
          },
          "resources": {
           "rule": "repeated",
           "type": "mesos.Resource",
           "id": 7
          },
          "statuses": {
           "rule": "repeated",
           "type": "TaskStatus",
           "id": 8
          },
          "labels": {
           "type": "mesos.Labels",
           "id": 11
          },
          "discovery": {
           "type": "mesos.DiscoveryInfo",
           "id": 12
          },
          "container": {
           "type": "mesos.ContainerInfo",
           "id": 13
          }
         }
        },
        "Attribute": {
         "edition": "proto2",
         "fields": {
          "name": {
           "rule": "required",
           "type": "string",
           "id": 1
          },
          "text": {
           "type": "mesos.Value.Text",
           "id": 5
          }
         }
        },
        "AgentInfo": {
         "edition": "proto2",
         "fields": {
          "hostname": {
           "rule": "required",
           "type": "string",
           "id": 1
          },
          "attributes": {
           "rule": "repeated",
           "type": "Attribute",
           "id": 5
          },
          "id": {
           "type": "mesos.SlaveID",
           "id": 6
          }
         }
        },
        "FrameworkInfo": {
         "edition": "proto2",
         "fields": {
          "id": {
           "type": "mesos.FrameworkID",
           "id": 3
          },
          "principal": {
           "type": "string",
           "id": 8
          }
         }
        },
        "Framework": {
         "edition": "proto2",
         "fields": {
          "framework_info": {
           "rule": "required",
           "type": "FrameworkInfo",
           "id": 1
          }
         }
        },
        "Agent": {
         "edition": "proto2",
         "fields": {
          "agent_info": {
           "rule": "required",
           "type": "AgentInfo",
           "id": 1
          },
          "pid": {
           "type": "string",
           "id": 4
          }
         }
        },
        "GetState": {
         "edition": "proto2",
         "fields": {
          "get_tasks": {
           "type": "GetTasks",
           "id": 1
          },
          "get_frameworks": {
           "type": "GetFrameworks",
           "id": 3
          },
          "get_agents": {
           "type": "GetAgents",
           "id": 4
          }
         },
         "nested": {
          "GetTasks": {
           "fields": {
            "tasks": {
             "rule": "repeated",
             "type": "Task",
             "id": 2
            }
           }
          },
          "GetAgents": {
           "fields": {
            "agents": {
             "rule": "repeated",
             "type": "Agent",
             "id": 1
            },
            "recovered_agents": {
             "rule": "repeated",
             "type": "AgentInfo",
             "id": 2
            }
           }
          },
          "GetFrameworks": {
           "fields": {
            "frameworks": {
             "rule": "repeated",
             "type": "Framework",
             "id": 1
            },
            "recovered_frameworks": {
             "rule": "repeated",
             "type": "FrameworkInfo",
             "id": 3
            }
           }
          }
         }
        },
        "Event": {
         "edition": "proto2",
         "fields": {
          "type": {
           "type": "Type",
           "id": 1
          },
          "subscribed": {
           "type": "Subscribed",
           "id": 2
          },
          "task_added": {
           "type": "TaskAdded",
           "id": 3
          },
          "task_updated": {
           "type": "TaskUpdated",
           "id": 4
          },
          "agent_added": {
           "type": "AgentAdded",
           "id": 5
          },
          "agent_removed": {
           "type": "AgentRemoved",
           "id": 6
          },
          "framework_added": {
           "type": "FrameworkAdded",
           "id": 7
          },
          "framework_updated": {
           "type": "FrameworkUpdated",
           "id": 8
          },
          "framework_removed": {
           "type": "FrameworkRemoved",
           "id": 9
          }
         },
         "nested": {
          "Type": {
           "values": {
            "UNKNOWN": 0,
            "SUBSCRIBED": 1,
            "TASK_ADDED": 2,
            "TASK_UPDATED": 3,
            "AGENT_ADDED": 4,
            "AGENT_REMOVED": 5,
            "FRAMEWORK_ADDED": 6,
            "FRAMEWORK_UPDATED": 7,
            "FRAMEWORK_REMOVED": 8,
            "HEARTBEAT": 9
           }
          },
          "Subscribed": {
           "fields": {
            "get_state": {
             "type": "GetState",
             "id": 1
            },
            "heartbeat_interval_seconds": {
             "type": "double",
             "id": 2
            }
           }
          },
          "TaskAdded": {
           "fields": {
            "task": {
             "rule": "required",
             "type": "Task",
             "id": 1
            }
           }
          },
          "TaskUpdated": {
           "fields": {
            "framework_id": {
             "rule": "required",
             "type": "mesos.FrameworkID",
             "id": 1
            },
            "status": {
             "rule": "required",
             "type": "TaskStatus",
             "id": 2
            },
            "state": {
             "type": "TaskState",
             "id": 3
            }
           }
          },
          "AgentAdded": {
           "fields": {
            "agent": {
             "rule": "required",
             "type": "Agent",
             "id": 1
            }
           }
          },
          "AgentRemoved": {
           "fields": {
            "agent_id": {
             "rule": "required",
             "type": "mesos.SlaveID",
             "id": 1
            }
           }
          },
          "FrameworkAdded": {
           "fields": {
            "framework": {
             "rule": "required",
             "type": "Framework",
             "id": 1
            }
           }
          },
          "FrameworkUpdated": {
           "fields": {
            "framework": {
             "rule": "required",
             "type": "Framework",
             "id": 1
            }
           }
          },
          "FrameworkRemoved": {
           "fields": {
            "framework_info": {
             "rule": "required",
             "type": "FrameworkInfo",
             "id": 1
            }
           }
          }
         }
        }
       }
      }
     }
    }
   }
  }
 }
};
