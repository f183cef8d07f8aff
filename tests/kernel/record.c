/* Writes what the kernel answers to the questions of src/wireguard: `record links`, `record families` and
 * `record NAME` of an interface, the datagrams behind one another. For fixtures. */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/wireguard.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    struct nlmsghdr head;
    char body[64];
} request;
static char answer[32768];

static void put(int type, const char *text)
{
    struct nlattr *attribute = (void *)((char *)&request + request.head.nlmsg_len);
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + strlen(text) + 1;
    strcpy((char *)attribute + NLA_HDRLEN, text);
    request.head.nlmsg_len += NLA_ALIGN(attribute->nla_len);
}

static void begin(int type, int flags, int command, int length)
{
    memset(&request, 0, sizeof request);
    request.head = (struct nlmsghdr){ NLMSG_HDRLEN + length, type, NLM_F_REQUEST | flags, 0, 0 };
    request.body[0] = command;
    request.body[1] = 1;
}

/* The number of WireGuard. */
static int family(int end)
{
    begin(GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, GENL_HDRLEN);
    put(CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
    send(end, &request, request.head.nlmsg_len, 0);
    int count = recv(end, answer, sizeof answer, 0), at = NLMSG_HDRLEN + GENL_HDRLEN;
    while (at < count) {
        struct nlattr *attribute = (void *)(answer + at);
        if (attribute->nla_type == CTRL_ATTR_FAMILY_ID)
            return *(unsigned short *)(attribute + 1);
        at += NLA_ALIGN(attribute->nla_len);
    }
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 2 || strlen(argv[1]) > 15)
        return 2;
    int is_links = !strcmp(argv[1], "links");
    int end = socket(AF_NETLINK, SOCK_RAW, is_links ? NETLINK_ROUTE : NETLINK_GENERIC);
    if (is_links) {
        begin(RTM_GETLINK, NLM_F_DUMP, 0, sizeof(struct ifinfomsg));
        request.body[1] = 0;
    } else if (!strcmp(argv[1], "families")) {
        begin(GENL_ID_CTRL, NLM_F_DUMP, CTRL_CMD_GETFAMILY, GENL_HDRLEN);
    } else {
        begin(family(end), NLM_F_DUMP, WG_CMD_GET_DEVICE, GENL_HDRLEN);
        put(WGDEVICE_A_IFNAME, argv[1]);
    }
    if (send(end, &request, request.head.nlmsg_len, 0) < 0)
        return 1;
    for (;;) {
        int count = recv(end, answer, sizeof answer, 0);
        if (count <= 0 || write(1, answer, count) != count)
            return 1;
        for (struct nlmsghdr *one = (void *)answer; NLMSG_OK(one, count); one = NLMSG_NEXT(one, count))
            if (one->nlmsg_type == NLMSG_DONE || one->nlmsg_type == NLMSG_ERROR)
                return 0;
    }
}
