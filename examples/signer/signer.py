"""Signs messages with a key that only its containers have."""

import hashlib
import hmac
import os


def sign(message):
    key = os.environ["SIGNING_KEY"].encode()
    return {"message": message, "signature": hmac.new(key, message.encode(), hashlib.sha256).hexdigest()}
