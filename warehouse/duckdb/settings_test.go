package duckdb

import (
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/warehouse"
)

// valuesOf runs a query of one column. A failure is its only value.
func valuesOf(t *testing.T, w *Warehouse, query string) (all []string) {
	t.Helper()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: query})
	if err != nil {
		return []string{err.Error()}
	}
	defer func() {
		if err := result.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		batch, err := result.Next(t.Context())
		if err == io.EOF {
			return all
		}
		if err != nil {
			return []string{err.Error()}
		}
		for row := range int(batch.NumRows()) {
			all = append(all, strings.Clone(batch.Column(0).ValueStr(row)))
		}
		batch.Release()
	}
}

// settingEffects show what the pinned settings do.
var settingEffects = []struct{ name, sql, want string }{
	{"TimeZone", "SELECT (TIMESTAMPTZ '2024-01-01 00:00:00+00')::VARCHAR", "2024-01-01 00:00:00+00"},
	{"Calendar", "SELECT date_part('year', TIMESTAMPTZ '2024-01-01 00:00:00+00')::VARCHAR", "2024"},
	{"integer_division", "SELECT (1 / 2)::VARCHAR", "0.5"},
	{"ieee_floating_point_ops", "SELECT (1e0 / 0)::VARCHAR", "inf"},
	{"old_implicit_casting", "SELECT substring(42, 1, 1)", "invalid SQL"},
	{"disable_timestamptz_casts", "SELECT (TIMESTAMP '2024-01-01'::TIMESTAMPTZ)::VARCHAR", "2024-01-01 00:00:00+00"},
	{"scalar_subquery_error_on_multiple_rows", "SELECT (SELECT i FROM range(2) t(i))", "data"},
	{"order_by_non_integer_literal", "SELECT 1 ORDER BY 'a'", "invalid SQL"},
	{"default_collation", "SELECT ('a' = 'A')::VARCHAR", "false"},
	{"default_order", "SELECT i FROM (VALUES (2), (1)) t(i) ORDER BY i", "1; 2"},
	{"default_null_order", "SELECT coalesce(i, -1) FROM (VALUES (NULL), (1)) t(i) ORDER BY i", "1; -1"},
	{"enable_external_access", "SELECT content FROM read_text('/dev/null')", "permission"},
}

func TestPinnedSettings(t *testing.T) {
	w := Open(Config{})
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, effect := range settingEffects {
		got := strings.Join(valuesOf(t, w, effect.sql), "; ")
		if got != effect.want && !strings.HasPrefix(got, "warehouse: "+effect.want) {
			t.Errorf("%s: %q instead of %q", effect.name, got, effect.want)
		}
		if !slices.ContainsFunc(pinned, func(s setting) bool { return s.name == effect.name }) {
			t.Errorf("%s is not pinned", effect.name)
		}
	}
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT 1 AS MixedCase"})
	if err != nil {
		t.Fatal(err)
	}
	if name := result.Schema().Field(0).Name; name != "MixedCase" {
		t.Errorf("the column is %q", name)
	}
	if err := result.Close(); err != nil {
		t.Error(err)
	}
	for _, s := range slices.Concat(pinned, startSettings) {
		got := valuesOf(t, w, "SELECT value FROM duckdb_settings() WHERE lower(name) = lower('"+s.name+"')")
		want := strings.Trim(s.value, "'")
		if len(got) != 1 || got[0] != want && !(s.name == "enable_logging" && got[0] == "0") {
			t.Errorf("%s is %q instead of %q", s.name, got, want)
		}
		if s.why == "" {
			t.Errorf("nothing says why %s is pinned", s.name)
		}
	}
}

// What a program that writes the file sets is no property of the file.
func TestAFileBringsNoSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warehouse.duckdb")
	writer, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = writer.ExecContext(t.Context(), `SET GLOBAL default_order = 'DESC'; SET GLOBAL integer_division = true;
		SET GLOBAL default_null_order = 'NULLS_FIRST'; CREATE TABLE t AS SELECT * FROM (VALUES (1), (NULL), (3)) v(i)`)
	if err := errors.Join(err, writer.Close()); err != nil {
		t.Fatal(err)
	}
	w := Open(Config{Path: path})
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := strings.Join(valuesOf(t, w, "SELECT coalesce(i / 2, -1)::VARCHAR FROM t ORDER BY i"), " "); got != "0.5 1.5 -1.0" {
		t.Errorf("the rows are %s", got)
	}
}

// withoutEffect are settings that are not pinned, by the reason: they decide
// about nothing that a read-only query over the database returns or reaches.
var withoutEffect = map[string]string{
	"resources and speed": `allocator_background_threads allocator_bulk_deallocation_flush_threshold allocator_flush_threshold asof_loop_join_threshold
		block_allocator_memory catalog_error_max_schemas dynamic_or_filter_threshold enable_caching_operators enable_fsst_vectors external_threads
		index_scan_max_count index_scan_percentage late_materialization_max_rows max_expression_depth max_memory max_temp_directory_size
		memory_limit merge_join_threshold nested_loop_join_threshold ordered_aggregate_threshold perfect_ht_threshold pin_threads
		pivot_filter_threshold pivot_limit prefer_range_joins scheduler_process_partial storage_block_prefetch streaming_buffer_size
		temp_directory temp_file_encryption threads worker_threads`,
	"writing": `auto_checkpoint_skip_wal_threshold checkpoint_threshold default_block_size disabled_compression_methods enable_macro_dependencies
		enable_optimistic_write enable_view_dependencies experimental_metadata_reuse force_bitpacking_mode force_column_metadata_reuse
		force_compression force_variant_shredding geometry_minimum_shredding_size immediate_transaction_mode max_vacuum_tasks
		partitioned_write_flush_threshold partitioned_write_max_open_files storage_compatibility_version vacuum_rebuild_indexes
		variant_minimum_shredding_size wal_autocheckpoint wal_autocheckpoint_entries write_buffer_row_group_count
		write_buffer_row_group_memory_limit zstd_min_string_length`,
	"files, network, extensions and secrets, which are out of reach": `__delta_only_variant_encoding_enabled allow_extensions_metadata_mismatch
		allow_parser_override_extension allow_unredacted_secrets allowed_configs allowed_directories allowed_paths
		autoinstall_extension_repository binary_as_string custom_extension_repository default_secret_storage disable_parquet_prefetching
		disabled_filesystems enable_external_file_cache enable_geoparquet_conversion enable_http_logging enable_http_metadata_cache
		enable_object_cache extension_directories extension_directory file_search_path force_mbedtls_unsafe home_directory
		http_logging_output http_proxy http_proxy_password http_proxy_username ignore_unknown_crs parquet_metadata_cache
		prefetch_all_parquet_files secret_directory validate_external_file_cache`,
	"Arrow of DuckDB's own, which is not used": `arrow_large_buffer_size arrow_lossless_conversion arrow_output_list_view
		arrow_output_version produce_arrow_string_view`,
	"diagnostics": `custom_profiling_settings custom_user_agent disabled_log_types duckdb_api enable_profiling enable_progress_bar
		enable_progress_bar_print enabled_log_types explain_output log_query_path logging_level logging_mode logging_storage
		profile_output profiling_coverage profiling_mode profiling_output progress_bar_time warnings_as_errors`,
	"syntax that is refused or means the same":       `deprecated_using_key_syntax lambda_syntax`,
	"set by Config, or the same by another name":     `access_mode null_order password schema search_path user username`,
	"the state after an error, which ends the query": `current_transaction_invalidation_policy disable_database_invalidation`,
}

// A setting of a new version of DuckDB is to be pinned, or to be known to have
// no effect.
func TestEverySettingIsKnown(t *testing.T) {
	w := Open(Config{})
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	known := map[string]bool{}
	for _, s := range slices.Concat(pinned, startSettings) {
		known[strings.ToLower(s.name)] = true
	}
	for _, names := range withoutEffect {
		for _, name := range strings.Fields(names) {
			if known[name] {
				t.Errorf("%s is listed twice", name)
			}
			known[name] = true
		}
	}
	for _, name := range valuesOf(t, w, "SELECT lower(name) FROM duckdb_settings() WHERE name NOT LIKE 'debug_%'") {
		if !known[name] {
			t.Errorf("%s is neither pinned nor known to have no effect", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("DuckDB has no setting %s", name)
	}
}
