/* See resolve.h.
 *
 * The question is shared by the fibre that asks and the thread that answers; the last one to leave frees it. The thread
 * touches the loop only while the fibre still waits, which both see under the lock. It tells the loop with the lock
 * held, so whoever frees the question afterwards takes the lock first: then the thread has left.
 */
#include "volume/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#define CANCEL_INTERVAL (100 * NS_PER_MSEC)
#define PORT_TEXT_MAX 8

struct question {
        pthread_mutex_t lock;
        bool abandoned;
        bool unheard; /* the answer is there, but the loop could not be told */
        struct loop *loop;
        struct fibre_event event;
        char *host;
        char port[PORT_TEXT_MAX];
        int family;
        int error; /* EAI_*, or 0 */
        struct address addresses[RESOLVE_MAX];
        unsigned n;
};

static void question_free(struct question *q)
{
        pthread_mutex_destroy(&q->lock);
        free(q->host);
        free(q);
}

/* From the loop, after the thread has told of its answer. */
static void question_leave(struct question *q)
{
        pthread_mutex_lock(&q->lock);
        pthread_mutex_unlock(&q->lock);
        question_free(q);
}

static void take_addresses(struct question *q, const struct addrinfo *list)
{
        for (const struct addrinfo *a = list; a && q->n < RESOLVE_MAX; a = a->ai_next) {
                if (a->ai_addrlen > sizeof q->addresses[0].sa)
                        continue;
                memcpy(&q->addresses[q->n].sa, a->ai_addr, a->ai_addrlen);
                q->addresses[q->n++].len = a->ai_addrlen;
        }
}

static void question_ask(struct question *q)
{
        const struct addrinfo hints = {.ai_family = q->family, .ai_socktype = SOCK_STREAM};
        struct addrinfo *list = NULL;
        q->error = getaddrinfo(q->host, q->port, &hints, &list);
        if (q->error == 0)
                take_addresses(q, list);
        if (list)
                freeaddrinfo(list);
}

/* On the loop: the fibre may have left meanwhile. The thread may still hold the lock; what comes next may free it. */
static void question_answered(void *arg)
{
        struct question *q = arg;
        pthread_mutex_lock(&q->lock);
        pthread_mutex_unlock(&q->lock);
        if (q->abandoned)
                question_leave(q);
        else
                fibre_event_set(&q->event);
}

static void *question_thread(void *arg)
{
        struct question *q = arg;
        question_ask(q);
        pthread_mutex_lock(&q->lock);
        bool leave = q->abandoned;
        q->unheard = !leave && loop_post(q->loop, question_answered, q) < 0;
        pthread_mutex_unlock(&q->lock);
        if (leave)
                question_free(q);
        return NULL;
}

/* The loop's signals are the loop's. */
static int thread_start(struct question *q)
{
        pthread_t thread;
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = -pthread_create(&thread, NULL, question_thread, q);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r == 0)
                pthread_detach(thread);
        return r;
}

static struct question *question_new(struct loop *loop, const char *host, uint16_t port, int family)
{
        struct question *q = calloc(1, sizeof *q);
        if (!q)
                return NULL;
        pthread_mutex_init(&q->lock, NULL);
        q->loop = loop;
        q->family = family;
        q->host = strdup(host);
        (void)snprintf(q->port, sizeof q->port, "%u", (unsigned)port);
        if (q->host)
                return q;
        question_free(q);
        return NULL;
}

/* The fibre gives up. */
static void question_abandon(struct question *q)
{
        pthread_mutex_lock(&q->lock);
        q->abandoned = true;
        bool unheard = q->unheard;
        pthread_mutex_unlock(&q->lock);
        if (unheard)
                question_free(q);
}

static bool question_unheard(struct question *q)
{
        pthread_mutex_lock(&q->lock);
        bool unheard = q->unheard;
        pthread_mutex_unlock(&q->lock);
        return unheard;
}

static bool is_numeric(const char *host, uint16_t port, struct address *ret)
{
        char text[ADDRESS_TEXT_MAX];
        bool v6 = strchr(host, ':') != NULL;
        int n = snprintf(text, sizeof text, v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
        return n > 0 && (size_t)n < sizeof text && *host != '*' && address_parse(text, ret) == 0;
}

static int judge(const struct question *q, const char *host, struct error *err)
{
        if (q->error)
                return error_set(err, q->error == EAI_AGAIN ? -EAGAIN : -ENOENT, "Host name %s cannot be resolved: %s.",
                                 host, gai_strerror(q->error));
        if (q->n == 0)
                return error_set(err, -ENOENT, "Host name %s has no address.", host);
        return 0;
}

int resolve_host(struct fibre *self, const char *host, uint16_t port, int family, const bool *cancelled,
                 struct address ret[static RESOLVE_MAX], unsigned *ret_n, struct error *err)
{
        *ret_n = 1;
        if (is_numeric(host, port, &ret[0]))
                return 0;
        struct question *q = question_new(fibre_loop(self), host, port, family);
        int r = q ? thread_start(q) : -ENOMEM;
        if (r < 0) {
                if (q)
                        question_free(q);
                return error_set(err, r, "Host name %s cannot be resolved: %s.", host, strerror(-r));
        }
        while (fibre_event_wait(self, &q->event, CANCEL_INTERVAL) < 0) {
                if (question_unheard(q))
                        break;
                if (!cancelled || !*cancelled)
                        continue;
                question_abandon(q);
                return error_set(err, -ECANCELED, "Resolving host name %s was given up.", host);
        }
        r = judge(q, host, err);
        if (r == 0) {
                *ret_n = q->n;
                memcpy(ret, q->addresses, q->n * sizeof q->addresses[0]);
        }
        question_leave(q);
        return r;
}
