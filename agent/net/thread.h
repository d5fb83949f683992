/* Threads beside the loop: the resolver's, and those of libraries that wait. */
#ifndef WSHEALTHD_NET_THREAD_H
#define WSHEALTHD_NET_THREAD_H

/* Detached, with a small stack and every signal blocked, as signals belong to the loop. 0 or an errno. */
int thread_start(void *(*run)(void *arg), void *arg);
/*
 * The thread's last word before it tells others that it has gone, where it has called OpenSSL or a library that does. OpenSSL frees what it
 * keeps for a thread when that ends: a process that exits as soon as it hears leaves the memory behind.
 */
void thread_release(void);

#endif
