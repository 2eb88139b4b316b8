"""moto's KMS, which signs every message whole, taught MessageType DIGEST by the length of what it is given.

Its PSS salts stay what they are, as long as can be, which KMS never makes.
"""
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.server import main

SIZES = {32: hashes.SHA256, 48: hashes.SHA384, 64: hashes.SHA512}


def taught(whole, sign_digest):
    def sign(self, message, algorithm):
        made = SIZES.get(len(message))
        if made is None or not algorithm.endswith(str(8 * len(message))):
            return whole(self, message, algorithm)
        return sign_digest(self, message, algorithm, utils.Prehashed(made()))

    return sign


def ecdsa(self, digest, algorithm, prehashed):
    return self.private_key.sign(digest, ec.ECDSA(prehashed))


def rsa(self, digest, algorithm, prehashed):
    padding, _ = self._RSAPrivateKey__padding_and_hash_algorithm(algorithm)
    return self.private_key.sign(digest, padding, prehashed)


ECDSAPrivateKey.sign = taught(ECDSAPrivateKey.sign, ecdsa)
RSAPrivateKey.sign = taught(RSAPrivateKey.sign, rsa)

if __name__ == "__main__":
    main()
