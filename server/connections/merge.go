package connections

import (
	"fmt"
	"slices"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
)

// split takes the secrets out of a connection as a caller sends it, and the
// fields that only the server sets.
func split(sent *pb.Connection) (*pb.Connection, *store.Secrets) {
	connection := clone(sent)
	connection.OrganizationId, connection.Etag = "", ""
	connection.CreateTime, connection.UpdateTime, connection.NextScanTime = nil, nil, nil
	secrets := &store.Secrets{SigmaClientSecret: connection.GetSigma().GetClientSecret()}
	if connection.GetSigma() != nil { // an update may leave it out
		connection.Sigma.ClientSecret = ""
	}
	snowflake := connection.GetWarehouse().GetSnowflake()
	if snowflake == nil {
		return connection, secrets
	}
	snowflake.AuthenticationMethod = pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_UNSPECIFIED
	switch method := snowflake.GetAuthentication().(type) {
	case *pb.SnowflakeWarehouse_KeyPair:
		snowflake.AuthenticationMethod = pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_KEY_PAIR
		secrets.SnowflakePrivateKeyPEM = method.KeyPair.GetPrivateKeyPem()
		secrets.SnowflakePassphrase = method.KeyPair.GetPassphrase()
	case *pb.SnowflakeWarehouse_Password:
		snowflake.AuthenticationMethod = pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PASSWORD
		secrets.SnowflakePassword = method.Password
	case *pb.SnowflakeWarehouse_ProgrammaticAccessToken:
		snowflake.AuthenticationMethod = pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PROGRAMMATIC_ACCESS_TOKEN
		secrets.SnowflakeToken = method.ProgrammaticAccessToken
	case *pb.SnowflakeWarehouse_OauthToken:
		snowflake.AuthenticationMethod = pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_OAUTH_TOKEN
		secrets.SnowflakeToken = method.OauthToken
	}
	snowflake.Authentication = nil
	return connection, secrets
}

// requireSecrets refuses a connection that could not sign in.
func requireSecrets(connection *pb.Connection, secrets *store.Secrets) error {
	if secrets.SigmaClientSecret == "" {
		return errmap.InvalidField("connection.sigma.client_secret", "it is required")
	}
	if !hasWarehouseSecret(connection, secrets) {
		return errmap.InvalidField("connection.warehouse.snowflake.authentication", "give a key pair, a password, a programmatic access token or an OAuth token")
	}
	return nil
}

// hasWarehouseSecret reports whether the connection has the secret that its warehouse needs.
func hasWarehouseSecret(connection *pb.Connection, secrets *store.Secrets) bool {
	return connection.GetWarehouse().GetSnowflake() == nil ||
		secrets.SnowflakePrivateKeyPEM != "" || secrets.SnowflakePassword != "" || secrets.SnowflakeToken != ""
}

// merge applies an update to a stored connection. A secret that is left empty
// stays, unless it would be sent to another host or on behalf of another user
// than the one it was given for: whoever may change a host must not learn the
// secret by it.
func merge(current *pb.Connection, currentSecrets *store.Secrets, request *pb.UpdateConnectionRequest) (*pb.Connection, *store.Secrets, error) {
	sent, sentSecrets := split(request.GetConnection())
	updated, secrets := clone(current), *currentSecrets
	paths := request.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		paths = setFields(request.GetConnection())
	}
	for i, path := range paths {
		switch {
		case path == "display_name":
			updated.DisplayName = sent.GetDisplayName()
		case path == "version_tag":
			updated.VersionTag = sent.GetVersionTag()
		case path == "refuse_findings":
			updated.RefuseFindings = sent.GetRefuseFindings()
		case path == "scan_schedule":
			updated.ScanSchedule = sent.GetScanSchedule()
		case path == "allow_time_zone_mismatch":
			updated.AllowTimeZoneMismatch = sent.GetAllowTimeZoneMismatch()
		case path == "allow_empty":
			updated.AllowEmpty = sent.GetAllowEmpty()
		case path == "shrunk_ratio":
			updated.ShrunkRatio = sent.ShrunkRatio
		case path == "bookmark_ids":
			updated.BookmarkIds = sent.GetBookmarkIds()
		case path == "sigma":
			updated.Sigma, secrets.SigmaClientSecret = sent.GetSigma(), sentSecrets.SigmaClientSecret
		case path == "sigma.base_url":
			updated.Sigma.BaseUrl = sent.GetSigma().GetBaseUrl()
		case path == "sigma.client_id":
			updated.Sigma.ClientId = sent.GetSigma().GetClientId()
		case path == "sigma.time_zone":
			updated.Sigma.TimeZone = sent.GetSigma().GetTimeZone()
		case path == "sigma.client_secret":
			if sentSecrets.SigmaClientSecret == "" {
				return nil, nil, errmap.InvalidField("connection.sigma.client_secret", "the mask names it and it is empty")
			}
			secrets.SigmaClientSecret = sentSecrets.SigmaClientSecret
		case path == "warehouse":
			updated.Warehouse = sent.GetWarehouse()
			secrets.SnowflakePrivateKeyPEM, secrets.SnowflakePassphrase = sentSecrets.SnowflakePrivateKeyPEM, sentSecrets.SnowflakePassphrase
			secrets.SnowflakePassword, secrets.SnowflakeToken = sentSecrets.SnowflakePassword, sentSecrets.SnowflakeToken
		default:
			return nil, nil, errmap.InvalidField("update_mask", fmt.Sprintf(
				"path %d is no field that can be updated by itself; name display_name, version_tag, refuse_findings, allow_time_zone_mismatch, allow_empty, shrunk_ratio, bookmark_ids, scan_schedule, sigma, sigma.base_url, sigma.client_id, sigma.client_secret, sigma.time_zone or warehouse", i+1))
		}
	}
	keepSigmaSecret(current, currentSecrets, updated, &secrets, sentSecrets)
	keepWarehouseSecret(current, currentSecrets, updated, &secrets)
	if slices.Contains(paths, "warehouse") && !hasWarehouseSecret(updated, &secrets) {
		return nil, nil, errmap.InvalidField("connection.warehouse.snowflake.authentication", "an update replaces the whole warehouse; set all of its fields, and a credential where account, url or user change")
	}
	return updated, &secrets, requireSecrets(updated, &secrets)
}

// setFields is the mask that an empty mask stands for.
func setFields(sent *pb.Connection) []string {
	var paths []string
	if sent.GetDisplayName() != "" {
		paths = append(paths, "display_name")
	}
	if sent.GetVersionTag() != "" {
		paths = append(paths, "version_tag")
	}
	if len(sent.GetRefuseFindings()) > 0 {
		paths = append(paths, "refuse_findings")
	}
	if sent.GetAllowTimeZoneMismatch() {
		paths = append(paths, "allow_time_zone_mismatch")
	}
	if sent.GetAllowEmpty() {
		paths = append(paths, "allow_empty")
	}
	if sent.ShrunkRatio != nil {
		paths = append(paths, "shrunk_ratio")
	}
	if len(sent.GetBookmarkIds()) > 0 {
		paths = append(paths, "bookmark_ids")
	}
	if sent.GetScanSchedule() != nil {
		paths = append(paths, "scan_schedule")
	}
	for _, field := range []struct{ path, value string }{
		{"sigma.base_url", sent.GetSigma().GetBaseUrl()}, {"sigma.client_id", sent.GetSigma().GetClientId()},
		{"sigma.client_secret", sent.GetSigma().GetClientSecret()}, {"sigma.time_zone", sent.GetSigma().GetTimeZone()},
	} {
		if field.value != "" { // new credentials alone keep the time zone
			paths = append(paths, field.path)
		}
	}
	if sent.GetWarehouse() != nil {
		paths = append(paths, "warehouse")
	}
	return paths
}

func keepSigmaSecret(current *pb.Connection, currentSecrets *store.Secrets, updated *pb.Connection, secrets, sent *store.Secrets) {
	same := current.GetSigma().GetBaseUrl() == updated.GetSigma().GetBaseUrl() &&
		current.GetSigma().GetClientId() == updated.GetSigma().GetClientId()
	switch {
	case same && secrets.SigmaClientSecret == "":
		secrets.SigmaClientSecret = currentSecrets.SigmaClientSecret
	case !same && sent.SigmaClientSecret == "":
		secrets.SigmaClientSecret = ""
	}
}

func keepWarehouseSecret(current *pb.Connection, currentSecrets *store.Secrets, updated *pb.Connection, secrets *store.Secrets) {
	was, is := current.GetWarehouse().GetSnowflake(), updated.GetWarehouse().GetSnowflake()
	if was == nil || is == nil || is.GetAuthenticationMethod() != pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_UNSPECIFIED {
		return
	}
	if was.GetAccount() == is.GetAccount() && was.GetUrl() == is.GetUrl() && was.GetUser() == is.GetUser() {
		is.AuthenticationMethod = was.GetAuthenticationMethod()
		secrets.SnowflakePrivateKeyPEM, secrets.SnowflakePassphrase = currentSecrets.SnowflakePrivateKeyPEM, currentSecrets.SnowflakePassphrase
		secrets.SnowflakePassword, secrets.SnowflakeToken = currentSecrets.SnowflakePassword, currentSecrets.SnowflakeToken
	}
}
