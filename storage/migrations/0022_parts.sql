-- Nothing moves: only what is stored has one meaning more.
COMMENT ON TABLE cipher IS
    'End-to-end ciphertext and nothing else, for one device or for all that can have the message. No device id is in a '
    'row for all, so no look-up by device can find it. An empty one for all says that the message is a part: who has no '
    'row of their own was not meant. Deleted when every recipient device has confirmed it, or when its time has passed.';
