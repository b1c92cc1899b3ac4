/* Programs that lock, for lock_mounts.sh: lock_programs VERB fcntl|flock FILE …
 *
 *   count N             N times: lock, read a number, write it plus one, unlock
 *   ring N WHO          moves around a ring of three bytes that two processes share, holding one byte always; N steps
 *   hold [WORD]         locks, says "held", and waits for the end of its input
 *   wait                locks however long it takes: "held", or "errno NAME"; says "asking" before
 *   alarm               the same with a signal after 300 ms that must interrupt it
 *   try                 does not wait: "held" or "errno NAME"
 *
 * Numbers are read and written with O_DIRECT: what counts here are locks, not the coherence of caches.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#define BLOCK 4096

static bool by_flock;

static int lock_range(int fd, short type, off_t start, off_t len, bool wait)
{
        if (by_flock) {
                int how = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
                return flock(fd, wait ? how : how | LOCK_NB);
        }
        struct flock f = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
        return fcntl(fd, wait ? F_SETLKW : F_SETLK, &f);
}

static _Noreturn void die(const char *what)
{
        printf("%s: %s\n", what, strerror(errno));
        exit(1);
}

static void say(const char *text)
{
        printf("%s\n", text);
        fflush(stdout);
}

static int count(int fd, long n)
{
        char *block = aligned_alloc(BLOCK, BLOCK);
        if (!block)
                die("memory");
        for (long i = 0; i < n; i++) {
                if (lock_range(fd, F_WRLCK, 0, 0, true) < 0)
                        die("lock");
                memset(block, 0, BLOCK);
                if (pread(fd, block, BLOCK, 0) < 0)
                        die("read");
                long value = strtol(block, NULL, 10);
                memset(block, 0, BLOCK);
                snprintf(block, BLOCK, "%ld\n", value + 1);
                if (pwrite(fd, block, BLOCK, 0) != BLOCK)
                        die("write");
                if (lock_range(fd, F_UNLCK, 0, 0, true) < 0)
                        die("unlock");
        }
        free(block);
        return 0;
}

/* Two on three bytes: one is always free, so each gets on, and both pass each other's place all the time. */
static int ring(int fd, long n, long who)
{
        long at = who;
        if (lock_range(fd, F_WRLCK, at, 1, true) < 0)
                die("lock");
        say("held");
        for (long i = 0; i < n; i++) {
                long next = (at + 1) % 3;
                if (lock_range(fd, F_WRLCK, next, 1, true) < 0)
                        die("lock the next");
                if (lock_range(fd, F_UNLCK, at, 1, true) < 0)
                        die("unlock the last");
                at = next;
        }
        return lock_range(fd, F_UNLCK, at, 1, true) < 0;
}

static int ask(int fd, bool wait)
{
        if (wait)
                say("asking");
        if (lock_range(fd, F_WRLCK, 0, 0, wait) == 0) {
                say("held");
                return 0;
        }
        const char *name = strerrorname_np(errno);
        printf("errno %s\n", name ? name : strerror(errno));
        fflush(stdout);
        return 0;
}

static int hold(int fd)
{
        char c;
        if (lock_range(fd, F_WRLCK, 0, 0, true) < 0)
                die("lock");
        say("held");
        while (read(0, &c, 1) > 0)
                ;
        return 0;
}

static void on_alarm(int signo)
{
        (void)signo;
}

static int interrupted(int fd)
{
        struct sigaction a = {.sa_handler = on_alarm}; /* without SA_RESTART */
        sigaction(SIGALRM, &a, NULL);
        setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_usec = 300000}}, NULL);
        return ask(fd, true);
}

int main(int argc, char **argv)
{
        if (argc < 4)
                return 2;
        const char *verb = argv[1];
        long n = argc > 4 ? strtol(argv[4], NULL, 10) : 0, who = argc > 5 ? strtol(argv[5], NULL, 10) : 0;
        by_flock = strcmp(argv[2], "flock") == 0;
        int fd = open(argv[3], O_RDWR | O_CREAT | (strcmp(verb, "count") == 0 ? O_DIRECT : 0), 0644);
        if (fd < 0)
                die("open");
        if (strcmp(verb, "count") == 0)
                return count(fd, n);
        if (strcmp(verb, "ring") == 0)
                return ring(fd, n, who);
        if (strcmp(verb, "hold") == 0)
                return hold(fd);
        if (strcmp(verb, "alarm") == 0)
                return interrupted(fd);
        if (strcmp(verb, "wait") == 0)
                return ask(fd, true) || pause();
        if (strcmp(verb, "try") == 0)
                return ask(fd, false);
        return 2;
}
