/*
 * ends.h - two ends of a connection in one process, talking through memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * An end is either a connection of the module's, worked on as the host's processes would, or an SSL that
 * knows nothing of the module. What they say stands in wires, where a test can look at it, cut it, change it
 * and add to it.
 */
#ifndef ENDS_H
#define ENDS_H

#include "host/compat.h"
#include "crypto/openssl/compat.h"
#include "connection/connection.h"

#define END_BUFFER_MAX 65536

/* One direction. */
struct wire {
	unsigned char *bytes;
	size_t used, taken, room;
	bool closed; /* behind these bytes comes the end */
	bool broken; /* reading and writing fail, as after a reset */
};

struct end {
	struct wire *in, *out;
	size_t piece; /* how much one look at the wire gives at the most; 0: all */
	bool open;
	bool failed;            /* a hook, or OpenSSL, has said so */
	bool ended;             /* the end, or a close_notify, has been seen */
	unsigned char *message; /* cleartext received */
	size_t message_size, message_room;

	/* one of the module's */
	struct tcp_connection c;
	char buffer[END_BUFFER_MAX];
	bool told_to_close; /* by a message to tcp_main */
	bool sent_last;     /* sent with the wish to close behind it */
	bool told_early;    /* the host hears of the wire's end before it has read what comes before that */
	bool keeps;         /* leaves what has come in the host's buffer, as the beginning of a message */

	/* another */
	SSL *ssl;
	unsigned long error; /* why it has failed */
};

struct ends {
	struct end server, client;
	struct wire to_server, to_client;
};

/*
 * The server's port of connections that are opened from now on, 5061 at first: by it a test chooses domains.
 */
extern unsigned short ends_port;

/* What the script says of the next outgoing connection; NULL: nothing. */
extern const char *ends_server_name, *ends_server_id;
extern bool ends_script_drops;

/*
 * Makes two ends, on 127.0.0.1, that have not said anything. A context makes an end one that knows nothing of
 * the module, NULL one of the module's. Returns false when the module refuses it (nothing is open then).
 */
bool ends_open(struct ends *e, SSL_CTX *server, SSL_CTX *client);

/* Closes both ends as tcp_main would, and forgets them. */
void ends_close(struct ends *e);

/* Sends TEXT from FROM. Returns false when that cannot be; an end of the module's is then to be closed. */
bool ends_say(struct end *from, const char *text);
bool ends_send(struct end *from, const void *bytes, size_t size);
bool ends_send_last(struct end *from, const void *bytes, size_t size);

/*
 * Lets TO take once what has come, if anything has. Returns whether that, or what it says now, changed
 * anything.
 */
bool ends_step(struct end *to);

/* Lets both ends take steps until nothing moves any more. */
void ends_run(struct ends *e);

/* The same, but at most STEPS of them. Returns how many there were. */
int ends_run_some(struct ends *e, int steps);

/*
 * Takes all steps of a handshake, begun by TEXT from the client (NULL: nothing said). Returns whether both
 * ends are done.
 */
bool ends_shake(struct ends *e, const char *text);

/* Whether END has finished its handshake. */
bool ends_established(const struct end *end);

/* Whether TEXT, no more and no less, has come to END; forgets it. */
bool ends_got(struct end *end, const char *text);

/* Forgets what has come. Returns how much that was. */
size_t ends_forget(struct end *end);

/* Closes one end as tcp_main would; the other sees it behind what was sent. */
void ends_hang_up(struct end *end);

/* Ends what END says, with a close_notify when it is not one of the module's. It goes on listening. */
void ends_finish(struct end *end);

/* The module's connection of END. */
struct tls_connection *ends_tls(struct end *end);

/* Puts SIZE bytes on a wire. */
void wire_put(struct wire *w, const void *bytes, size_t size);

#endif
