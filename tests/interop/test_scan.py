"""A scan of `ringway serve` with sslyze, with both kinds of certificates."""

import unittest

import ringway
from sslyze import (
    RobotScanResultEnum,
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    TlsResumptionSupportEnum,
)

# HTTP headers are not part of TLS; the certificate is not issued by a public CA.
COMMANDS = set(ScanCommand) - {ScanCommand.HTTP_HEADERS, ScanCommand.CERTIFICATE_INFO}

TLS13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}

# The suites of TLS 1.2, by the kind of key: forward secrecy and authenticated encryption only.
TLS12 = {
    kind: {
        f"TLS_ECDHE_{kind}_WITH_AES_128_GCM_SHA256",
        f"TLS_ECDHE_{kind}_WITH_AES_256_GCM_SHA384",
        f"TLS_ECDHE_{kind}_WITH_CHACHA20_POLY1305_SHA256",
    }
    for kind in ("ECDSA", "RSA")
}


def scan(port):
    """The results of all commands, as attributes."""
    location = ServerNetworkLocation("localhost", port, ip_address="127.0.0.1")
    configuration = ServerNetworkConfiguration(tls_server_name_indication="localhost")
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(location, configuration, scan_commands=COMMANDS)])
    (result,) = scanner.get_results()
    if result.scan_result is None:
        raise AssertionError(f"sslyze could not connect: {result.connectivity_error_trace}")
    return result.scan_result


class Scan(unittest.TestCase):
    def test_with_an_ecdsa_certificate(self):
        self.check("server", "ECDSA")

    def test_with_an_rsa_certificate(self):
        self.check("rsa", "RSA")

    def check(self, identity, kind):
        with ringway.serve_tls(identities=[identity]) as server:
            scanned = scan(server.port)
        for command in COMMANDS:
            attempt = getattr(scanned, command.value)
            completed = attempt.status == ScanCommandAttemptStatusEnum.COMPLETED
            self.assertTrue(completed, f"{command.value}: {attempt.error_reason} {attempt.error_trace}")

        def suites(command):
            accepted = getattr(scanned, command).result.accepted_cipher_suites
            return {suite.cipher_suite.name for suite in accepted}

        for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]:
            self.assertEqual(suites(f"{version}_cipher_suites"), set(), version)
        self.assertEqual(suites("tls_1_2_cipher_suites"), TLS12[kind])
        self.assertEqual(suites("tls_1_3_cipher_suites"), TLS13)

        self.assertFalse(scanned.tls_compression.result.supports_compression, "compression (CRIME)")
        self.assertFalse(scanned.heartbleed.result.is_vulnerable_to_heartbleed, "Heartbleed")
        self.assertFalse(scanned.openssl_ccs_injection.result.is_vulnerable_to_ccs_injection, "CCS injection")
        self.assertFalse(scanned.tls_1_3_early_data.result.supports_early_data, "early data")
        robot = scanned.robot.result.robot_result
        self.assertEqual(robot, RobotScanResultEnum.NOT_VULNERABLE_RSA_NOT_SUPPORTED, "ROBOT")
        renegotiation = scanned.session_renegotiation.result
        self.assertTrue(renegotiation.supports_secure_renegotiation, "RFC 5746")
        self.assertFalse(renegotiation.is_vulnerable_to_client_renegotiation_dos, "renegotiation by the client")
        extended = scanned.tls_extended_master_secret.result.supports_ems_extension
        self.assertTrue(extended, "extended master secret (RFC 7627)")
        # The server keeps no sessions. Resumption with tickets is tested with OpenSSL: sslyze expects
        # the same ticket after it, and the server sends a new one.
        resumption = scanned.session_resumption.result
        self.assertEqual(resumption.session_id_resumption_result, TlsResumptionSupportEnum.NOT_SUPPORTED)
        curves = {curve.name for curve in scanned.elliptic_curves.result.supported_curves}
        self.assertEqual(curves, {"X25519", "secp256r1", "secp384r1"})
