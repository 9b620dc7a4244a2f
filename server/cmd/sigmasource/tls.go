package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/sigmasource/sigmasource/server/reload"
)

// openTLS returns the server's side of TLS. The files are looked at for changes
// once per interval, and connections from then on use what they hold. With an
// authority of clients, certificates of clients are verified, if they send one;
// whether a caller needs one is for package auth to say.
func openTLS(cert, key, clientCA string, interval time.Duration, logger *slog.Logger) (credentials.TransportCredentials, func(), error) {
	paths := []string{cert, key}
	if clientCA != "" {
		paths = append(paths, clientCA)
	}
	files, err := reload.Open(paths, interval, logger, parseTLS, nil)
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.Current(), nil },
	}), files.Close, nil
}

// parseTLS makes a configuration of a certificate chain, its key and, if there is
// one, the clients' authorities. Its errors hold nothing of the key.
func parseTLS(contents [][]byte) (*tls.Config, error) {
	certificate, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, fmt.Errorf("no certificate with its key: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
	}
	if len(contents) > 2 {
		config.ClientAuth = tls.VerifyClientCertIfGiven
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(contents[2]) {
			return nil, errors.New("no certificate of an authority of clients")
		}
	}
	return config, nil
}
