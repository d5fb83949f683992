/* Threads (agent/net/thread.h). thread_start is called on the loop's thread; the caller defines how its thread ends. */
#include "agent/net/thread.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

enum { THREAD_STACK_BYTES = 512 * 1024 };

int thread_start(void *(*run)(void *arg), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    status = pthread_create(&thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

void thread_release(void)
{
    OPENSSL_thread_stop();
}
