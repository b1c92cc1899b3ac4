/* Replica and disperse counts (cli/layout.h), with stock's texts, questions and defaults. */
#include "cli/layout.h"

#include "pool/volume.h"

static int fail(const struct command *command, const char *text)
{
        (void)fprintf(stderr, "%s\n", text);
        return text_usage(command);
}

static int choose_replica(const struct command *command, const struct layout_words *w, size_t n_bricks,
                          struct layout *ret)
{
        unsigned set_size = (unsigned)w->replica;
        if (w->arbiter && set_size == 2)
                set_size = 3; /* two words for the same */
        if (!w->thin_arbiter && n_bricks % set_size != 0)
                return fail(command, "number of bricks is not a multiple of replica count");
        *ret = (struct layout){.type = "replicate", .set_size = set_size, .arbiter_count = (unsigned)w->arbiter};
        return 0;
}

/* ---- disperse ---------------------------------------------------------------------------------------------------- */

struct disperse {
        const struct cli *cli;
        const struct command *command;
        size_t n_bricks;
        unsigned long count, data, redundancy; /* 0: not known yet */
};

static bool is_power_of_two(unsigned long n)
{
        return n > 0 && (n & (n - 1)) == 0;
}

/* The smallest redundancy with which the number of data bricks is a power of two; 0: there is none. */
static unsigned long optimal_redundancy(unsigned long count)
{
        for (unsigned long r = 1; r <= (count - 1) / 2; r++)
                if (is_power_of_two(count - r))
                        return r;
        return 0;
}

static int confirm(const struct disperse *d, const char *question)
{
        return text_confirm(d->cli, question) ? 0 : text_usage(d->command);
}

/* disperse-data alone: all other bricks are redundancy. */
static int from_data(struct disperse *d)
{
        char question[160];
        if (d->n_bricks >= 2 * d->data)
                return fail(d->command, "Please provide redundancy count along with disperse-data count");
        d->count = d->n_bricks;
        d->redundancy = d->count > d->data ? d->count - d->data : 0;
        if (d->redundancy == 0)
                return 0;
        (void)snprintf(question, sizeof question,
                       "Redundancy for this configuration is %lu. Do you want to create the volume with this value ?",
                       d->redundancy);
        return confirm(d, question);
}

static int choose_count(struct disperse *d)
{
        if (d->data && d->redundancy && !d->count)
                d->count = d->data + d->redundancy;
        if (d->data && !d->count)
                return from_data(d);
        if (!d->count)
                d->count = d->n_bricks;
        if (d->count < 3)
                return fail(d->command, "number of bricks must be greater than 2");
        if (d->data && !d->redundancy && d->data < d->count)
                d->redundancy = d->count - d->data;
        if (d->data && d->count != d->data + d->redundancy)
                return fail(d->command,
                            "Disperse count(D) should be equal to sum of disperse-data count(K) and redundancy"
                            " count(R)");
        return 0;
}

static int choose_redundancy(struct disperse *d)
{
        char question[160];
        d->redundancy = optimal_redundancy(d->count);
        if (d->redundancy == 1)
                return 0;
        if (d->redundancy == 0) {
                d->redundancy = 1;
                return confirm(d,
                               "There isn't an optimal redundancy value for this configuration. Do you want to create"
                               " the volume with redundancy 1 ?");
        }
        (void)snprintf(
                question, sizeof question,
                "The optimal redundancy for this configuration is %lu. Do you want to create the volume with this"
                " value ?",
                d->redundancy);
        return confirm(d, question);
}

static int check_redundancy(const struct disperse *d)
{
        char text[160];
        if (d->redundancy < 1 || d->redundancy > (d->count - 1) / 2) {
                (void)snprintf(
                        text, sizeof text,
                        "redundancy must be greater than or equal to 1 and less than %lu for a disperse %lu volume",
                        (d->count + 1) / 2, d->count);
                return fail(d->command, text);
        }
        if (is_power_of_two(d->count - d->redundancy))
                return 0;
        return confirm(d, "This configuration is not optimal on most workloads. Do you want to use it ?");
}

static int choose_disperse(const struct cli *cli, const struct command *command, const struct layout_words *w,
                           size_t n_bricks, struct layout *ret)
{
        struct disperse d = {.cli = cli,
                             .command = command,
                             .n_bricks = n_bricks,
                             .count = w->disperse,
                             .data = w->disperse_data,
                             .redundancy = w->redundancy};
        int status = choose_count(&d);
        if (status == 0)
                status = d.redundancy || d.data ? check_redundancy(&d) : choose_redundancy(&d);
        if (status != 0)
                return status;
        if (n_bricks % d.count != 0)
                return fail(command, "number of bricks is not a multiple of disperse count");
        *ret = (struct layout){.type = "disperse", .set_size = (unsigned)d.count, .redundancy = (unsigned)d.redundancy};
        return 0;
}

int layout_choose(const struct cli *cli, const struct command *command, const struct layout_words *words,
                  size_t n_bricks, struct layout *ret)
{
        if (words->replica)
                return choose_replica(command, words, n_bricks, ret);
        if (words->has_disperse || words->disperse_data || words->redundancy)
                return choose_disperse(cli, command, words, n_bricks, ret);
        *ret = (struct layout){.type = "distribute", .set_size = 1};
        return 0;
}
