"""Sizes and counts that both sides must know."""

KIB = 1024

NOISE_MESSAGE_BYTES = 65_535
"""Noise revision 34, section 3: no Noise message is longer."""
NOISE_TAG_BYTES = 16
PLAINTEXT_BYTES = NOISE_MESSAGE_BYTES - NOISE_TAG_BYTES
"""What one transport message can hold: the frames of one WebSocket message, encoded."""

CIPHERTEXT_BYTES = 48 * KIB
"""One end-to-end ciphertext; anything larger is media. With all other fields of `msg:new` it fits a Noise message."""
REST_BODY_BYTES = 4 * 1024 * KIB
"""One request body at the API, JSON with base64 inside."""
TICKET_BYTES = 4 * KIB
"""The longest of ours, with eight profiles, has 869 characters."""

FRAMES_PER_MESSAGE = 256
# A person has a handful of modes and machines. Both bound what one account may make everybody else's rosters hold.
PROFILES_PER_ACCOUNT = 8
DEVICES_PER_ACCOUNT = 16
MEMBERS_PER_CONVERSATION = 64
"""Small groups: so many that one send can still name every device of every member. More people are a channel."""
DEVICES_PER_SEND = MEMBERS_PER_CONVERSATION * DEVICES_PER_ACCOUNT
"""A sender key for each, in the second padding bucket, fits one REST body."""
LISTS_PER_PAGE = 64
"""Device lists in one answer: 1 MiB, were each as long as it can be."""
ONE_TIME_KEYS_PER_DEVICE = 100
# More than a person reads through, and few enough that nobody's memory or eyes are filled by others.
REQUESTS_OF_STRANGERS = 32
REQUESTS_PER_ACCOUNT = 8
BLOCKS_PER_ACCOUNT = 1_000
LINKS_PER_ACCOUNT = 64
"""Invite links to its profiles that are live at once. All of a profile are compared with what is shown."""
LINK_USES = 1_000
LINK_DAYS = 366
USER_NAMES_PER_ACCOUNT = 16
"""With those that were given up lately: nobody keeps names from others by changing theirs."""
FIRST_WORDS_CHARACTERS = 2_000
FIRST_WORDS_BYTES = 16 * KIB
"""One ciphertext of them: four bytes a character, both layers and padding."""
# The fullest Welcome has to fit one Noise message. Who belongs to more conversations lists the rest by REST.
HEADS_PER_WELCOME = 1_000
SYNC_MESSAGES = 500
PROBE_BYTES = 16
"""The token of a `probe`: enough to be unlike every other one."""
EPOCHS_PER_JOIN = 8
"""Who knows an epoch that is older still takes everything for lost that the eight before have not kept."""

# A bigint of Postgres. JavaScript is exact to 2**53 only, so a client there has to keep numbers as BigInt.
SEQ_MAX = 2**63 - 1

MS = 1
SECOND_MS = 1_000
HANDSHAKE_DEADLINE_MS = 10 * SECOND_MS
ROSTER_GRACE_MS = 10 * SECOND_MS  # how long a roster that was superseded is good for sends
