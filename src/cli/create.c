/* `volume create`: operands in stock's order of checks and with its texts (cli.md §5.5, §6.1, §6.2). */
#include "cli/cli.h"
#include "pool/path.h"
#include "pool/volume.h"

#define ARBITER_TEXT                                                                                                   \
        "For arbiter configuration, replica count must be 2 and arbiter count must be 1. The 3rd brick of the replica" \
        " will be the arbiter"
#define THIN_ARBITER_TEXT                                                                                              \
        "For thin-arbiter configuration, replica count must be 2 and thin-arbiter count must be 1. The 3rd brick of"   \
        " the replica will be the thin-arbiter brick"
#define LOOPBACK_TEXT                                                                                                  \
        "Please provide a valid hostname/ip other than localhost, 127.0.0.1 or loopback address (0.0.0.0 to"           \
        " 0.255.255.255)."

struct create {
        const struct cli *cli;
        const struct command *command;
        char **words;
        int n, at;
        unsigned long replica, arbiter, thin_arbiter, disperse, disperse_data, redundancy; /* 0: not given */
        bool has_disperse, has_transport, force;
        const char *transport;
};

static int fail(const struct create *c, const char *text)
{
        (void)fprintf(stderr, "%s\n", text);
        return text_usage(c->command);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static const char *next_word(const struct create *c)
{
        return c->at < c->n ? c->words[c->at] : NULL;
}

/* A decimal number; 0 when W is none. */
static unsigned long number_of(const char *w)
{
        char *end;
        unsigned long n = w && *w >= '0' && *w <= '9' ? strtoul(w, &end, 10) : 0;
        return n > 0 && *end == '\0' ? n : 0;
}

static int read_arbiter(struct create *c)
{
        const char *w = next_word(c);
        if (!w)
                return 0;
        if (streq(w, "arbiter")) {
                c->at++;
                c->arbiter = number_of(next_word(c));
                c->at++;
                if (c->arbiter != 1 || c->replica > 3)
                        return fail(c, ARBITER_TEXT);
        } else if (streq(w, "thin-arbiter")) {
                c->at++;
                c->thin_arbiter = number_of(next_word(c));
                c->at++;
                if (c->thin_arbiter != 1 || c->replica != 2)
                        return fail(c, THIN_ARBITER_TEXT);
        }
        return 0;
}

static int read_replica(struct create *c)
{
        if (c->replica)
                return fail(c, "replica option given twice");
        if (c->has_disperse || c->disperse_data || c->redundancy)
                return fail(c, "replicated-dispersed volume is not supported");
        c->replica = number_of(next_word(c));
        c->at++;
        if (c->replica < 2)
                return fail(c, "replica count should be greater than 1");
        return read_arbiter(c);
}

static int read_transport(struct create *c)
{
        if (c->has_transport)
                return fail(c, "'transport' option given more than one time");
        c->has_transport = true;
        c->transport = next_word(c);
        c->at++;
        if (!c->transport || !(streq(c->transport, "tcp") || streq(c->transport, "rdma") ||
                               streq(c->transport, "tcp,rdma") || streq(c->transport, "rdma,tcp")))
                return text_usage(c->command);
        return 0;
}

static int read_disperse(struct create *c)
{
        if (c->has_disperse)
                return fail(c, "disperse option given twice");
        if (c->replica)
                return fail(c, "replicated-dispersed volume is not supported");
        c->has_disperse = true;
        const char *w = next_word(c);
        if (!w || *w < '0' || *w > '9' || strchr(w, ':'))
                return 0; /* the number is optional: this is the next word */
        c->disperse = number_of(w);
        c->at++;
        return c->disperse < 3 ? fail(c, "disperse count must be greater than 2") : 0;
}

static int read_part(struct create *c, const char *name, unsigned long *count, unsigned long min)
{
        char text[64];
        if (*count) {
                (void)snprintf(text, sizeof text, "%s option given twice", name);
                return fail(c, text);
        }
        if (c->replica)
                return fail(c, "replicated-dispersed volume is not supported");
        *count = number_of(next_word(c));
        c->at++;
        if (*count >= min)
                return 0;
        (void)snprintf(text, sizeof text, "%s must be greater than %lu", name, min - 1);
        return fail(c, text);
}

/* Option groups before the bricks. */
static int read_options(struct create *c)
{
        for (const char *w; (w = next_word(c));) {
                int status = 0;
                c->at++;
                if (streq(w, "replica"))
                        status = read_replica(c);
                else if (streq(w, "transport"))
                        status = read_transport(c);
                else if (streq(w, "disperse"))
                        status = read_disperse(c);
                else if (streq(w, "disperse-data"))
                        status = read_part(c, w, &c->disperse_data, 2);
                else if (streq(w, "redundancy"))
                        status = read_part(c, w, &c->redundancy, 1);
                else if (streq(w, "arbiter"))
                        return fail(c, "arbiter option must be preceded by replica option.");
                else if (streq(w, "thin-arbiter"))
                        return fail(c, "thin-arbiter option must be preceded by replica option.");
                else
                        break;
                if (status != 0)
                        return status;
        }
        c->at--;
        return 0;
}

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

static bool is_loopback(const char *host)
{
        return streq(host, "localhost") || streq(host, "127.0.0.1") || starts_with(host, "0.");
}

static int add_brick(const struct create *c, const char *word, json_t *bricks)
{
        const char *colon = strstr(word, ":/");
        _cleanup_free_ char *text = strdup(word);
        if (!text)
                return fail(c, "out of memory");
        if (!colon || colon == word || memchr(word, '/', (size_t)(colon - word))) {
                (void)fprintf(stderr, "Wrong brick type: %s, use <HOSTNAME>:<export-dir-abs-path>\n", word);
                return text_usage(c->command);
        }
        char *path = text + (colon - word) + 1;
        path[-1] = '\0';
        if (is_loopback(text))
                return fail(c, LOOPBACK_TEXT);
        path[-1] = ':';
        path_canonicalise(path);
        for (size_t i = 0; i < json_array_size(bricks); i++)
                if (streq(json_string_value(json_array_get(bricks, i)), text)) {
                        (void)fprintf(stderr, "Found duplicate exports %s\n", text);
                        return text_usage(c->command);
                }
        if (json_array_append_new(bricks, json_string(text)) < 0)
                return fail(c, "a brick's path is not valid UTF-8");
        return 0;
}

static int read_bricks(struct create *c, json_t *bricks)
{
        c->force = c->n > c->at && streq(c->words[c->n - 1], "force");
        if (c->force)
                c->n--;
        for (; c->at < c->n; c->at++) {
                int status = add_brick(c, c->words[c->at], bricks);
                if (status != 0)
                        return status;
        }
        return json_array_size(bricks) == 0 ? fail(c, "No bricks specified") : 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* What the daemon cannot make yet, refused before anything is touched. */
static int refuse_layout(const struct create *c)
{
        const char *what = NULL;
        if (c->replica)
                what = c->arbiter || c->thin_arbiter ? "arbiter volumes are not there yet"
                                                     : "replicate volumes are not there yet";
        else if (c->has_disperse || c->disperse_data || c->redundancy)
                what = "disperse volumes are not there yet";
        else if (c->has_transport && !streq(c->transport, "tcp"))
                what = "transport rdma is not there yet";
        if (!what)
                return 0;
        (void)fprintf(stderr, "%s: %s: only plain distribute volumes over tcp can be created; nothing was changed\n",
                      c->cli->program, what);
        return EXIT_FAILURE;
}

static int check_name(const struct create *c, const char *name)
{
        struct error why = {0};
        if (volume_name_check(name, &why) == 0)
                return 0;
        if (why.text[0])
                (void)fprintf(stderr, "%s\n", why.text);
        return text_usage(c->command);
}

static int send(const struct create *c, const char *name, json_t *bricks)
{
        _cleanup_answer_ struct answer a = {0};
        int status = call_mortard(c->cli,
                                  json_pack("{s:s,s:s,s:O,s:b}", "command", "volume-create", "volume", name, "bricks",
                                            bricks, "force", c->force),
                                  &a);
        if (status != 0)
                return status;
        if (!a.ok) {
                char prefix[512];
                (void)snprintf(prefix, sizeof prefix, "volume create: %s: failed: ", name);
                return answer_refused(c->cli, &a, prefix);
        }
        if (c->cli->json)
                return text_json(a.json);
        (void)printf("volume create: %s: success: please start the volume to access data\n", name);
        return EXIT_SUCCESS;
}

int run_volume_create(const struct cli *cli, const struct command *command, int argc, char **argv)
{
        struct create c = {.cli = cli, .command = command, .words = argv, .n = argc, .at = 1};
        if (argc < 2)
                return text_usage(command);
        int status = check_name(&c, argv[0]);
        if (status == 0)
                status = read_options(&c);
        if (status != 0)
                return status;
        json_t *bricks = json_array();
        status = bricks ? read_bricks(&c, bricks) : EXIT_FAILURE;
        if (status == 0)
                status = refuse_layout(&c);
        if (status == 0)
                status = send(&c, argv[0], bricks);
        json_decref(bricks);
        return status;
}
