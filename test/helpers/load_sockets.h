/*
 * Sockets, servers and the clock of load.c. Nothing here is inside a measured loop but connected_socket() and
 * bound_socket(), whose cost is what `connect` and `bind` measure.
 */
#pragma once

/*
 * Of bulk sockets, in bytes. Left to itself the kernel grows the buffers to megabytes, and a stream's rate is then
 * that of the shared cache at that moment. This is the most that net.core.[rw]mem_max allows by default.
 */
#define SOCKET_BUFFER (208 << 10)

/* What one send() or read() of bulk data moves, in bytes. */
#define PIECE (128 << 10)

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t length;
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = {.tv_sec = ns / 1000000000u, .tv_nsec = ns % 1000000000u};

	while (nanosleep(&t, &t) < 0)
		;
}

/*
 * What else runs on the machine shall get little of the measuring CPU. Where sessions are scheduled as groups
 * (autogroup), only the group's own nice value counts against others.
 */
static void take_precedence(void)
{
	FILE *group = fopen("/proc/self/autogroup", "w");

	setpriority(PRIO_PROCESS, 0, -19);
	if (group) {
		fputs("-19", group);
		fclose(group);
	}
}

static void set_option(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) < 0)
		die("setsockopt %d/%d: %s", level, name, strerror(errno));
}

static void start_thread(pthread_t *thread, void *(*body)(void *), void *arg)
{
	int error = pthread_create(thread, NULL, body, arg);

	if (error)
		die("thread: %s", strerror(error));
}

static struct endpoint any_endpoint(int family, int port)
{
	struct endpoint e = {0};

	if (family == AF_INET6) {
		e.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
		e.length = sizeof(e.v6);
	} else {
		e.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
		e.length = sizeof(e.v4);
	}
	return e;
}

static struct endpoint parse_endpoint(const char *address, int port)
{
	struct endpoint e = any_endpoint(strchr(address, ':') ? AF_INET6 : AF_INET, port);
	void *into = e.any.sa_family == AF_INET6 ? (void *)&e.v6.sin6_addr : (void *)&e.v4.sin_addr;

	if (inet_pton(e.any.sa_family, address, into) != 1)
		die("bad address: %s", address);
	return e;
}

/* A socket bound to the wildcard address; an IPv6 one is IPv6 only, so that both families can have the port. */
static int bound_socket(int family, int type, int port)
{
	struct endpoint e = any_endpoint(family, port);
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket: %s", strerror(errno));
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, &e.any, e.length) < 0)
		die("bind to port %d: %s", port, strerror(errno));
	return fd;
}

static int connected_socket(const struct endpoint *to)
{
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, &to->any, to->length) < 0)
		die("connect to port %d: %s", ntohs(to->v4.sin_port), strerror(errno));
	return fd;
}

static void serve_echo(int fd)
{
	char buffer[64];
	ssize_t n;

	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0 && write(fd, buffer, n) == n)
		;
	close(fd);
}

static void *discard_main(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char *buffer = malloc(PIECE);

	while (read(fd, buffer, PIECE) > 0)
		;
	free(buffer);
	close(fd);
	return NULL;
}

static void serve_discard(int fd)
{
	pthread_t thread;

	start_thread(&thread, discard_main, (void *)(intptr_t)fd);
	pthread_detach(thread);
}

static void serve_close(int fd)
{
	close(fd);
}

struct service {
	int fd;
	void (*handle)(int fd);
};

static void *service_main(void *arg)
{
	struct service *s = arg;

	for (;;) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			die("accept: %s", strerror(errno));
		s->handle(fd);
	}
}

static void serve(int port)
{
	static void (*const handlers[])(int) = {serve_echo, serve_discard, serve_close};
	enum { SERVICES = sizeof(handlers) / sizeof(handlers[0]) };
	static struct service services[SERVICES];
	pthread_t thread;

	for (int i = 0; i < SERVICES; i++) {
		services[i] = (struct service){bound_socket(AF_INET, SOCK_STREAM, port + i), handlers[i]};
		if (handlers[i] == serve_discard)
			set_option(services[i].fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
		if (listen(services[i].fd, 1024) < 0)
			die("listen: %s", strerror(errno));
		start_thread(&thread, service_main, &services[i]);
		pthread_detach(thread);
	}
	/* Nobody reads the datagrams: with the smallest buffer the path ends in the same drop from the third one on.
	 */
	set_option(bound_socket(AF_INET, SOCK_DGRAM, port), SOL_SOCKET, SO_RCVBUF, 1);
	set_option(bound_socket(AF_INET6, SOCK_DGRAM, port), SOL_SOCKET, SO_RCVBUF, 1);
}
