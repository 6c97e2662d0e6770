/* Echo on libwebsockets: `echo PORT`. */

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MAX_MESSAGE = 16 << 20, READ_SIZE = 64 << 10 };

/* A queued message. The library writes the frame header into the LWS_PRE bytes in front of the payload. */
struct reply {
    struct reply *next;
    size_t length;
    enum lws_write_protocol kind;
    unsigned char bytes[];
};

struct session {
    /* The message being assembled: LWS_PRE spare bytes, then the payload. */
    unsigned char *message;
    size_t length, capacity;
    /* Replies that wait for the socket to accept data, oldest first. */
    struct reply *first, **last;
};

/* Grows the assembly buffer for `more` bytes. */
static int reserve(struct session *session, size_t more)
{
    size_t needed = session->length + more, capacity = session->capacity ? session->capacity : 4096;
    unsigned char *message;

    if (needed > MAX_MESSAGE)
        return -1;
    if (needed <= session->capacity)
        return 0;
    while (capacity < needed)
        capacity *= 2;
    message = realloc(session->message, LWS_PRE + capacity);
    if (!message)
        return -1;
    session->message = message;
    session->capacity = capacity;
    return 0;
}

/* Writes a message with LWS_PRE spare bytes in front, or queues a copy of it. */
static int reply(struct lws *wsi, struct session *session, unsigned char *bytes, size_t length)
{
    enum lws_write_protocol kind = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    struct reply *queued;

    /* The library buffers the part that the socket does not accept, and writes it later. */
    if (!session->first && !lws_partial_buffered(wsi))
        return lws_write(wsi, bytes, length, kind) < 0 ? -1 : 0;

    queued = malloc(sizeof *queued + LWS_PRE + length);
    if (!queued)
        return -1;
    *queued = (struct reply){ .length = length, .kind = kind };
    memcpy(queued->bytes + LWS_PRE, bytes, length);
    *session->last = queued;
    session->last = &queued->next;
    lws_callback_on_writable(wsi);
    return 0;
}

static int receive(struct lws *wsi, struct session *session, const void *bytes, size_t length)
{
    static unsigned char whole[LWS_PRE + READ_SIZE];
    int result;

    if (lws_is_first_fragment(wsi) && lws_is_final_fragment(wsi) && length <= READ_SIZE) {
        memcpy(whole + LWS_PRE, bytes, length);
        return reply(wsi, session, whole + LWS_PRE, length);
    }
    if (lws_is_first_fragment(wsi))
        session->length = 0;
    if (reserve(session, length))
        return -1;
    memcpy(session->message + LWS_PRE + session->length, bytes, length);
    session->length += length;
    if (!lws_is_final_fragment(wsi))
        return 0;
    result = reply(wsi, session, session->message + LWS_PRE, session->length);
    session->length = 0;
    return result;
}

/* Writes queued messages until the socket accepts no more. */
static int drain(struct lws *wsi, struct session *session)
{
    while (session->first && !lws_partial_buffered(wsi)) {
        struct reply *next = session->first->next;
        int written = lws_write(wsi, session->first->bytes + LWS_PRE, session->first->length, session->first->kind);

        free(session->first);
        session->first = next;
        if (!next)
            session->last = &session->first;
        if (written < 0)
            return -1;
    }
    if (session->first)
        lws_callback_on_writable(wsi);
    return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    struct session *session = user;

    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        *session = (struct session){ .last = &session->first };
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return receive(wsi, session, in, length);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return drain(wsi, session);
    case LWS_CALLBACK_CLOSED:
        free(session->message);
        while (session->first) {
            struct reply *next = session->first->next;

            free(session->first);
            session->first = next;
        }
        return 0;
    default:
        return 0;
    }
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        { .name = "echo",
          .callback = callback,
          .per_session_data_size = sizeof(struct session),
          .rx_buffer_size = READ_SIZE,
          .tx_packet_size = MAX_MESSAGE + 64 },
        { 0 },
    };
    struct lws_context_creation_info info = { 0 };
    struct lws_context *context;
    struct rlimit files;

    if (argc != 2) {
        fprintf(stderr, "usage: echo PORT\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    lws_set_log_level(LLL_ERR, NULL);
    /* The default loop, poll(2): at 100 and 1000 busy connections it is as fast as the libev and libuv loops. */
    info.port = atoi(argv[1]);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.pt_serv_buf_size = READ_SIZE;
    context = lws_create_context(&info);
    if (!context) {
        fprintf(stderr, "echo: libwebsockets cannot listen on 127.0.0.1:%s\n", argv[1]);
        return 1;
    }
    while (lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    return 1;
}
