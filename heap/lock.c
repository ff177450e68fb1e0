/*
 * heap/lock.c - a lock between threads and processes that survives the death of its holder
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * For critical sections of a few instructions without calls. The lock is one word in shared memory: 0 or the id of the
 * thread that holds it. Robust mutexes of the C library would do the same, but the host replaces their initialisation.
 *
 * After some milliseconds a waiter checks whether the holder is still alive, and takes the lock over from a dead one. If
 * another thread has been given the dead thread's id in the meantime, the waiter waits until that thread has ended. If the
 * waiter itself has that id, the holder must be dead, since a thread never takes a lock twice.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "heap/shape.h"
#include "host/child.h"

#define SPINS  64  /* then the thread yields the processor */
#define YIELDS 128 /* then the thread sleeps */
#define NAP_NS 100000
#define NAPS   16 /* between two checks of the holder */

static _Thread_local uint32_t self __attribute__((tls_model("initial-exec")));

uint32_t tls_lock_self(void)
{
	if (self == 0)
		self = (uint32_t)syscall(SYS_gettid);
	return self;
}

void tls_lock_forked(void)
{
	self = 0;
}

bool tls_lock_is_gone(uint32_t thread)
{
	return kill((pid_t)thread, 0) != 0 && errno == ESRCH;
}

/* Gone, or a zombie whose parent, possibly the thread that waits here, has not collected its status. */
static bool is_dead(uint32_t thread)
{
	char state;

	if (thread == tls_lock_self() || tls_lock_is_gone(thread))
		return true;
	state = tls_child_state(thread);
	return state == 'Z' || state == 'X';
}

static void pause_for(unsigned turn)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};

	if (turn < SPINS)
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
	else if (turn < YIELDS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

static bool try_take(struct tls_lock *l, uint32_t from)
{
	return atomic_compare_exchange_strong_explicit(&l->holder, &from, tls_lock_self(), memory_order_acquire,
	                                               memory_order_relaxed);
}

static TLS_COLD bool wait_for(struct tls_lock *l)
{
	for (unsigned turn = 0;; turn++) {
		uint32_t holder = atomic_load_explicit(&l->holder, memory_order_relaxed);
		bool dead = holder != 0 && turn > YIELDS && turn % NAPS == 0 && is_dead(holder);

		if ((holder == 0 || dead) && try_take(l, holder))
			return dead;
		pause_for(turn);
	}
}

bool tls_lock_take(struct tls_lock *l)
{
	return TLS_LIKELY(try_take(l, 0)) ? false : wait_for(l);
}

void tls_lock_release(struct tls_lock *l)
{
	atomic_store_explicit(&l->holder, 0, memory_order_release);
}
