/* Threads beside the loop: the resolver's, and those of libraries that wait. */
#ifndef WSHEALTHD_NET_THREAD_H
#define WSHEALTHD_NET_THREAD_H

/* Detached, with a small stack and every signal blocked, as signals belong to the loop. 0 or an errno. */
int thread_start(void *(*run)(void *arg), void *arg);

#endif
