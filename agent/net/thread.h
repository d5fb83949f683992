/* Threads beside the loop: the resolver's, and the workers of libraries whose calls block. */
#ifndef WSHEALTHD_NET_THREAD_H
#define WSHEALTHD_NET_THREAD_H

/* Detached, with a small stack and every signal blocked, as signals belong to the loop. 0 or an errno. */
int thread_start(void *(*run)(void *arg), void *arg);
/*
 * Frees OpenSSL's memory of this thread. A thread that has used OpenSSL calls it before it tells others that it has ended: the
 * process may exit then, before OpenSSL's own clean-up at the end of the thread, and that is reported as a leak.
 */
void thread_release(void);

#endif
