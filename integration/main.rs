//! The integration tests: each behaviour on the embedded broker and on a real Apache Kafka.
//!
//! `cargo test --test integration -- sse` runs those with `sse` in their names. Without Java and
//! Maven, and without `SLUICEGATE_TEST_KAFKA`, the half on Apache Kafka is reported as ignored.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cognitive_complexity,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::needless_pass_by_value,
    clippy::print_stderr,
    clippy::string_slice,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "tests"
)]

mod accepts_tokens;
mod acknowledges;
mod answers_commands;
mod answers_long_polls;
mod answers_on_sockets;
mod asks_who_may;
mod changes_subscriptions;
mod checker;
mod commands_become_records;
mod defines_apis;
mod delivers_matching_events;
mod embedded_broker_keeps_events;
mod ends_every_connection;
mod ends_sessions;
mod finds_answers;
mod finds_topics;
mod follows_its_issuer;
mod forwards_requests;
mod gives_everybody_their_own;
mod guards_the_internal_port;
mod keeps_browsers_safe;
mod keeps_to_its_upstream;
mod keeps_to_transactions;
mod keeps_tokens_secret;
mod knows_who_is_there;
mod layers;
mod limits_clients;
mod notes_requests;
mod opens_to_tokens;
mod produces_over_http;
mod reads_schemas;
mod recovers_from_outages;
mod redeems_tickets;
mod refuses_bad_input;
mod refuses_forged_tokens;
mod replays_the_past;
mod resumes_from_a_cursor;
mod says_what_is_wrong;
mod secures_routes;
mod sends_commands_over_nats;
mod serves_crowds;
mod slows_down_for_nobody;
mod speaks_nats;
mod speaks_tls_and_http2;
mod speaks_websocket;
mod state_is_shared;
mod support;
mod survives;
mod tells_the_operator;
mod tells_topics_apart;
mod tells_what_is_gone;

use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use support::kafka::{Backend, Kafka, Unavailable, of_run, serve_if_asked};

/// How many behaviours run at a time.
const AT_ONCE: usize = 6;
/// How long one of them may take: several times the longest on a busy machine. One that hangs is named, and the others
/// are not held up.
const LONGEST: Duration = Duration::from_mins(10);

/// Makes a trial of each behaviour, for one broker.
macro_rules! behaviours {
    ($backend:expr, $is_there:expr, [$($($room:ident)::+),* $(,)?]) => {
        vec![$(
            Trial::test(
                format!("{}::{}", $backend.name(), [$(stringify!($room)),+].join("::")),
                move || on($backend, |kafka| $($room)::+(kafka)),
            )
            .with_ignored_flag(!$is_there),
        )*]
    };
}

/// Makes a trial of each behaviour that needs no broker, or brings its own.
macro_rules! without_kafka {
    [$($room:ident :: $name:ident),* $(,)?] => {
        [$(
            Trial::test(
                format!("{}::{}", stringify!($room), stringify!($name)),
                || run($room::$name),
            ),
        )*]
    };
}

fn main() {
    serve_if_asked();
    checker::command::run_if_asked();
    tells_topics_apart::ask_if_asked();
    let mut trials = vec![Trial::test("layers::imports_only_go_down", || {
        layers::imports_only_go_down();
        Ok(())
    })];
    let has_nats = support::nats::is_there_or_required();
    for backend in [Backend::Embedded, Backend::Apache] {
        let missing = backend.missing();
        if let Some(missing) = &missing {
            eprintln!("the tests on Apache Kafka are ignored: {missing}");
        }
        trials.extend(behaviours!(
            backend,
            missing.is_none() && has_nats,
            [
                speaks_nats::of_which_events_reach_clients_of_all_instances_once_and_in_order,
                speaks_nats::and_shares_a_burst_among_the_instances,
                speaks_nats::and_tells_who_asks_what_became_of_each_message,
                speaks_nats::as_soon_as_it_is_there,
                speaks_nats::and_holds_its_messages_while_kafka_is_away,
                speaks_nats::and_loses_nothing_that_was_taken_when_it_stops,
            ]
        ));
        trials.extend(behaviours!(
            backend,
            missing.is_none(),
            [
                commands_become_records::of_events_that_stay_as_they_are,
                commands_become_records::of_any_other_body,
                commands_become_records::whose_keys_choose_partitions_as_those_of_java_do,
                commands_become_records::with_data_in_avro,
                commands_become_records::and_are_logged_to_kafka,
                commands_become_records::and_are_logged_in_avro,
                commands_become_records::of_which_some_come_back_as_events,
                delivers_matching_events::the_first_frames_are_byte_for_byte_what_rig_sends,
                delivers_matching_events::each_client_gets_just_what_its_constraints_ask_for,
                delivers_matching_events::a_steady_trickle_arrives_once_and_in_order,
                delivers_matching_events::prefixes_and_the_star_match_types,
                delivers_matching_events::a_constraint_on_an_undeclared_field_is_refused_by_its_name,
                delivers_matching_events::every_version_and_mode_of_cloud_events_arrives,
                delivers_matching_events::poison_records_are_skipped_and_counted_and_the_next_event_arrives,
                delivers_matching_events::several_topics_and_new_partitions_are_read,
                resumes_from_a_cursor::after_last_event_id_without_gap_or_duplicate,
                resumes_from_a_cursor::at_another_instance,
                resumes_from_a_cursor::a_quiet_stream_gets_its_cursor_moved,
                resumes_from_a_cursor::a_malformed_cursor_is_refused,
                resumes_from_a_cursor::a_client_that_stops_reading_gets_everything_when_it_goes_on,
                resumes_from_a_cursor::a_stream_ends_when_the_client_sends_its_end,
                replays_the_past::where_the_log_does_not_reach_back,
                replays_the_past::before_what_an_instance_read_at_its_start,
                replays_the_past::to_a_stalled_client_that_the_log_has_left_behind,
                replays_the_past::to_many_who_come_back_at_once,
                replays_the_past::with_the_subscriptions_that_were_in_force,
                replays_the_past::from_the_earliest_record_a_time_or_some_matches_back,
                replays_the_past::from_nowhere_when_the_start_is_none,
                slows_down_for_nobody::a_slow_client_is_disconnected_where_that_is_the_policy,
                slows_down_for_nobody::a_slow_client_gets_the_newest_of_each_key_where_that_is_the_policy,
                speaks_websocket::events_are_text_frames_and_the_offered_protocol_is_taken,
                speaks_websocket::a_client_changes_its_subscriptions_on_the_socket,
                speaks_websocket::bad_frames_get_the_right_close_code,
                speaks_websocket::pings_go_both_ways_and_a_dead_peer_is_found,
                speaks_websocket::a_request_without_a_handshake_is_told_to_upgrade,
                speaks_tls_and_http2::streams_of_events_are_the_same_every_way,
                speaks_tls_and_http2::websockets_are_the_same_every_way,
                speaks_tls_and_http2::answers_are_the_same_every_way,
                speaks_tls_and_http2::long_polls_are_the_same_every_way,
                speaks_tls_and_http2::a_client_that_stops_reading_gets_everything_when_it_goes_on,
                speaks_tls_and_http2::a_client_that_takes_no_byte_is_closed,
                speaks_tls_and_http2::a_hundred_streams_share_a_connection,
                speaks_tls_and_http2::a_shutdown_ends_every_stream_whole,
                speaks_tls_and_http2::a_new_certificate_is_shown_and_no_connection_is_cut,
                speaks_tls_and_http2::a_handshake_that_does_not_end_is_closed,
                speaks_tls_and_http2::a_flood_of_resets_ends_its_connection_alone,
                speaks_tls_and_http2::a_request_that_two_could_read_in_two_ways_is_refused,
                answers_commands::with_what_a_worker_writes,
                answers_commands::with_what_is_posted_to_any_instance,
                answers_commands::of_many_at_once,
                answers_commands::asked_for_later::at_any_instance,
                answers_commands::once_for_each_key::at_whichever_instance,
                answers_commands::once_for_each_key::also_after_a_restart,
                answers_commands::once_for_each_key::and_counts_the_bodies_of_clients_that_left,
                answers_commands::or_gives_up::those_of_an_earlier_life,
                answers_commands::or_gives_up::those_of_an_instance_that_ends,
                acknowledges::and_gets_the_rest_again_at_any_instance,
                acknowledges::but_not_what_is_no_acknowledgement,
                acknowledges::until_the_session_has_ended,
                acknowledges::only_once_it_is_known_where_the_topics_stand,
                answers_long_polls::with_the_cookies_and_bodies_of_rig,
                answers_long_polls::an_event_that_arrives_during_a_poll_is_returned_at_once,
                answers_long_polls::with_no_events_after_the_timeout,
                answers_long_polls::at_any_instance_in_turn,
                answers_long_polls::bad_cookies_are_refused_or_start_anew,
                changes_subscriptions::from_the_answer_on,
                changes_subscriptions::at_an_instance_that_does_not_hold_the_connection,
                changes_subscriptions::bad_requests_change_nothing,
                produces_over_http::structured_binary_and_batched_on_both_ports,
                produces_over_http::nothing_of_a_bad_batch_is_written,
                produces_over_http::the_key_is_the_partition_key_or_the_configured_attribute,
                produces_over_http::what_is_no_event_is_refused_with_its_reason,
                refuses_bad_input::in_subscriptions,
                refuses_bad_input::in_paths_methods_and_heads,
                refuses_bad_input::a_type_that_looks_like_fields_forges_nothing,
                refuses_bad_input::cors_lets_pages_in_and_credentials_only_for_exact_origins,
                tells_the_operator::how_it_is,
                tells_the_operator::what_it_did_in_numbers,
                tells_the_operator::a_shutdown_tells_every_client_to_go,
                tells_the_operator::a_shutdown_leaves_no_connection_to_kafka,
                tells_the_operator::that_kafka_is_away_and_heals_by_itself,
                finds_answers::after_an_outage_of_kafka,
                finds_topics::a_restart_loses_nothing,
                finds_topics::that_come_later_from_their_beginning,
                finds_topics::that_are_missing_and_makes_them,
                finds_topics::and_makes_none_that_keeps_records_for_ever,
                finds_topics::with_more_partitions_than_a_cursor_can_carry,
                tells_topics_apart::by_an_id_that_stays_as_long_as_the_topic,
                tells_topics_apart::without_a_leak,
                recovers_from_outages::of_a_kafka_that_is_killed,
                recovers_from_outages::of_a_kafka_that_is_frozen,
                defines_apis::that_all_instances_have_and_keep,
                defines_apis::beside_those_of_the_file,
                state_is_shared::what_one_instance_writes_all_read,
                state_is_shared::all_instances_agree_on_one_random_token_key,
                state_is_shared::no_change_is_behind_one_that_was_not_known_yet,
                state_is_shared::commands_reach_their_target_or_say_that_it_is_gone,
                state_is_shared::a_token_of_one_is_taken_by_all,
                gives_everybody_their_own::in_order_and_without_a_leak,
                ends_sessions::of_which_all_instances_close_every_connection,
                ends_sessions::also_after_a_restart_of_everything_and_until_their_time_is_over,
                ends_sessions::with_their_tokens_on_every_transport,
                ends_sessions::unless_a_later_token_is_handed_in,
                ends_sessions::which_operators_can_list_and_end,
                ends_sessions::but_not_for_what_is_no_session,
                redeems_tickets::once_at_whichever_instance,
                redeems_tickets::only_while_they_and_their_tokens_are_good,
                ends_every_connection::at_every_instance_and_at_one_that_starts_later,
                ends_every_connection::at_an_instance_that_was_frozen_meanwhile,
                ends_every_connection::once_kafka_is_back,
                serves_crowds::of_clients_that_never_read,
                serves_crowds::of_clients_that_come_back,
                survives::kill_9_of_the_instance,
                survives::a_signal_to_end_with_status_0,
                survives::a_freeze_of_15_seconds,
                survives::strangers_in_its_consumer_group,
            ]
        ));
    }
    // The checker and whole programs run on a real Kafka where there is one.
    let backend = match Backend::Apache.missing() {
        None => Backend::Apache,
        Some(_) => Backend::Embedded,
    };
    trials.extend(behaviours!(
        backend,
        true,
        [
            checker::trials::finds_nothing_wrong_while_instances_break,
            checker::trials::finds_nothing_wrong_when_every_connection_is_cut,
            checker::trials::names_events_lost_by_a_resume_past_one,
            checker::trials::names_events_repeated_by_a_resume_before_one,
            checker::trials::names_foreign_events_of_a_wrong_filter,
            checker::trials::names_events_that_are_swapped,
            ends_every_connection::over_tls_and_http2_too,
            ends_every_connection::of_a_client_that_does_not_read,
            ends_every_connection::of_two_hundred,
            ends_every_connection::that_is_being_opened,
            ends_every_connection::whose_token_is_being_handed_in,
            knows_who_is_there::by_a_join_and_a_leave_of_each_connection,
            knows_who_is_there::of_those_who_poll_once,
            knows_who_is_there::also_when_a_later_token_names_another_session,
            knows_who_is_there::until_the_instance_stops,
            limits_clients::who_are_known_by_the_address_that_a_trusted_proxy_names,
            limits_clients::by_how_many_are_open,
            limits_clients::who_wait_for_a_poll,
            limits_clients::by_their_session,
            limits_clients::but_lets_browsers_try_again_where_that_is_asked_for,
            limits_clients::in_the_bytes_of_a_request,
            limits_clients::in_the_events_that_a_session_submits,
            guards_the_internal_port::with_a_token,
            guards_the_internal_port::with_client_certificates,
            guards_the_internal_port::with_either,
            guards_the_internal_port::and_warns_where_anybody_may_come,
            keeps_browsers_safe::who_reads_an_answer_of_any_kind,
            keeps_browsers_safe::who_reads_a_stream,
            keeps_browsers_safe::who_sends_what_a_form_could_not,
            keeps_browsers_safe::who_opens_a_websocket,
            keeps_browsers_safe::who_opens_a_websocket_over_http2,
            keeps_browsers_safe::from_pages_at_the_internal_port,
            keeps_tokens_secret::in_answers_logs_metrics_and_records,
            tells_the_operator::that_kafka_is_not_there_at_most_once_a_second,
        ]
    ));
    // Where a topic of the embedded broker is deleted, its answer to those who read crashes librdkafka.
    trials.extend(behaviours!(
        Backend::Apache,
        Backend::Apache.missing().is_none(),
        [
            finds_answers::in_topics_and_partitions_that_come_later,
            finds_answers::in_a_topic_that_was_made_anew,
            finds_topics::that_are_made_anew,
            tells_what_is_gone::where_kafka_has_deleted_some,
            tells_what_is_gone::where_kafka_has_deleted_more_than_a_page,
            tells_what_is_gone::where_kafka_has_deleted_all_of_a_partition,
            tells_what_is_gone::where_kafka_deletes_what_is_being_read,
            keeps_to_transactions::whose_events_come_when_they_are_committed,
            keeps_to_transactions::also_when_the_past_is_read,
            recovers_from_outages::of_a_leader_that_is_killed,
            finds_topics::that_are_made_anew_and_grew,
            finds_topics::that_are_made_anew_under_connected_clients,
            finds_topics::that_are_made_anew_beside_others,
            finds_topics::that_are_made_anew_under_a_client_that_does_not_read,
            finds_topics::that_are_made_anew_while_an_instance_is_down,
            finds_topics::that_are_made_anew_and_all_instances_agree,
        ]
    ));
    trials.extend(behaviours!(
        Backend::Embedded,
        has_nats,
        [
            speaks_nats::over_tls_with_a_password,
            speaks_nats::with_a_token_or_a_key,
            sends_commands_over_nats::and_says_when_the_server_has_them,
            sends_commands_over_nats::and_waits_for_the_reply,
            sends_commands_over_nats::each_with_its_own_reply,
            sends_commands_over_nats::of_which_the_reply_is_asked_for_later,
            sends_commands_over_nats::once_for_each_idempotency_key,
            sends_commands_over_nats::and_says_what_is_in_the_way,
            sends_commands_over_nats::and_claims_nothing_of_a_server_that_is_frozen,
        ]
    ));
    // What clients meet at the door is the same in front of every broker.
    trials.extend(behaviours!(
        Backend::Embedded,
        true,
        [
            follows_its_issuer::which_holds_up_only_who_waits_for_it,
            follows_its_issuer::while_its_keys_rotate_under_load,
            follows_its_issuer::with_the_keys_it_knows_while_the_issuer_is_away,
            follows_its_issuer::as_soon_as_the_issuer_is_there,
            notes_requests::in_numbers_that_name_routes_only,
            notes_requests::in_a_log_at_the_console_and_in_kafka,
            notes_requests::in_the_traces_they_belong_to,
            notes_requests::and_refuses_those_of_a_session_that_sends_too_many,
            limits_clients::in_the_memory_that_their_bodies_take_together,
            secures_routes::with_tokens_where_they_are_configured,
            secures_routes::with_good_tokens_alone,
            secures_routes::and_hands_on_no_token_but_the_one_it_verified,
            secures_routes::without_telling_tokens,
            secures_routes::for_pages_that_ask_beforehand,
            secures_routes::and_gives_answers_to_tokens_where_the_route_has_them,
            answers_on_sockets::as_over_http,
            answers_on_sockets::but_not_what_no_route_is_for,
            answers_on_sockets::as_they_finish_and_no_more_than_eight_at_once,
            answers_on_sockets::while_events_and_changes_go_on,
            answers_on_sockets::to_whoever_the_connection_belongs,
            answers_on_sockets::that_fit_into_a_message,
            answers_on_sockets::whatever_they_go_over,
            answers_on_sockets::with_patience::also_longer_than_a_heartbeat,
            answers_on_sockets::with_patience::but_not_once_the_connection_has_ended,
            answers_on_sockets::with_patience::but_not_for_a_client_that_reads_none,
            answers_commands::of_backends_at_once_unless_they_accept,
            answers_commands::or_gives_up::at_the_deadline,
            answers_commands::asked_for_later::but_not_too_late,
            answers_commands::or_gives_up::those_whose_clients_leave,
            answers_commands::or_gives_up::without_a_backend,
            defines_apis::but_not_with_what_cannot_be_honoured,
            forwards_requests::with_every_method_and_body,
            forwards_requests::with_chunked_bodies,
            forwards_requests::and_answers_what_the_backend_says,
            forwards_requests::with_paths_and_queries_as_they_came,
            forwards_requests::to_other_paths_where_the_route_says_so,
            forwards_requests::but_not_those_that_no_route_is_for,
            forwards_requests::of_clients::who_say_nothing_of_others,
            forwards_requests::of_clients::unless_they_are_trusted_proxies,
            forwards_requests::of_clients::without_what_is_for_one_connection,
            forwards_requests::of_clients::with_the_headers_of_their_route,
            forwards_requests::of_clients::as_part_of_their_trace,
            forwards_requests::to_backends::over_tls_whom_they_can_trust,
            forwards_requests::to_backends::over_http_2,
            forwards_requests::to_backends::or_tell_why_there_is_no_answer,
            forwards_requests::to_backends::of_which_one_may_be_down,
            forwards_requests::to_backends::twice_only_where_that_does_no_harm,
            forwards_requests::and_streams::events_as_they_come,
            forwards_requests::and_streams::until_their_client_leaves,
            forwards_requests::and_streams::answers_as_far_as_they_come,
            forwards_requests::and_streams::answers_that_come_before_the_end_of_the_request,
            forwards_requests::and_streams::bodies_of_any_size_in_little_memory,
            forwards_requests::as_websockets::in_both_directions,
            forwards_requests::as_websockets::unless_the_backend_refuses,
            forwards_requests::as_websockets::until_their_session_ends,
            keeps_to_its_upstream::whatever_the_length_is::which_is_disputable,
            keeps_to_its_upstream::whatever_the_length_is::which_hides_another_request,
            keeps_to_its_upstream::whatever_the_length_is::which_is_never_told,
            keeps_to_its_upstream::whatever_the_head_says::about_hosts,
            keeps_to_its_upstream::whatever_the_head_says::about_connections,
            keeps_to_its_upstream::whatever_the_head_says::in_names_that_look_like_others,
            keeps_to_its_upstream::whatever_the_head_says::at_any_length,
            keeps_to_its_upstream::as_long_as_paths_are_plain::and_name_no_host,
            keeps_to_its_upstream::as_long_as_paths_are_plain::and_are_refused_otherwise,
            keeps_to_its_upstream::as_long_as_paths_are_plain::and_lead_past_no_token,
            keeps_to_its_upstream::as_long_as_paths_are_plain::and_stay_so_when_they_are_replaced,
            keeps_to_its_upstream::whatever_it_answers::that_is_malformed,
            keeps_to_its_upstream::whatever_it_answers::beyond_its_end,
            keeps_to_its_upstream::whatever_it_answers::before_it_is_asked,
            keeps_to_its_upstream::whatever_it_answers::without_end,
            keeps_to_its_upstream::with_http_2::whatever_its_fields_are,
            keeps_to_its_upstream::with_http_2::whatever_its_body_is,
            defines_apis::whose_paths_lead_nowhere_else,
            opens_to_tokens::at_each_place_of_every_transport,
            opens_to_tokens::but_not_at_two_places_at_once,
            opens_to_tokens::in_a_cookie_of_listed_pages_alone,
            opens_to_tokens::among_sub_protocols_which_are_not_said_again,
            redeems_tickets::but_none_that_was_altered,
            redeems_tickets::but_none_of_another_cluster,
            redeems_tickets::which_nobody_gets_without_a_token,
            redeems_tickets::so_many_a_minute_for_each_session,
            refuses_forged_tokens::whatever_their_algorithm_and_signature,
            refuses_forged_tokens::whatever_they_claim,
            refuses_forged_tokens::whatever_key_their_header_asks_for,
            refuses_forged_tokens::signed_with_a_public_key,
            refuses_forged_tokens::that_are_too_large_or_no_text,
            gives_everybody_their_own::whatever_they_ask_for,
            gives_everybody_their_own::and_nothing_to_those_whose_token_does_not_name_them,
            gives_everybody_their_own::on_connections_that_nobody_else_can_take_over,
            gives_everybody_their_own::also_from_the_past,
            gives_everybody_their_own::whatever_the_fields_of_an_event_are,
            gives_everybody_their_own::by_each_of_several_tokens,
            asks_who_may::to_have_a_token_that_subscribe,
            asks_who_may::to_have_a_token_that_submit,
            asks_who_may::a_server::as_rig_asks_it,
            asks_who_may::a_server::whose_status_decides,
            asks_who_may::a_server::once_for_questions_that_are_equal,
            asks_who_may::a_server::with_the_token_wherever_it_stood,
            asks_who_may::a_server::with_tokens_that_only_it_understands,
            asks_who_may::a_server::about_each_submission,
            asks_who_may::a_table_of_rules::about_subscriptions,
            asks_who_may::a_table_of_rules::again_with_each_token,
            asks_who_may::a_table_of_rules::about_submissions,
            asks_who_may::a_table_of_rules::for_each_of_several_tokens,
        ]
    ));
    trials.extend(without_kafka![
        reads_schemas::by_subject_to_encode_and_by_id_to_decode,
        reads_schemas::once_for_all_who_ask_at_the_same_time,
        reads_schemas::that_are_known_while_the_registry_is_away,
        reads_schemas::from_a_silent_registry_in_bounded_time,
        reads_schemas::that_are_not_there_or_no_schemas_are_told_apart,
        reads_schemas::that_use_others_are_read_with_them,
        reads_schemas::with_credentials_and_from_the_next_address,
        accepts_tokens::of_an_issuer_by_its_discovery_document,
        accepts_tokens::while_keys_rotate_all_the_time,
        accepts_tokens::but_unknown_keys_cause_few_fetches,
        accepts_tokens::and_an_unknown_key_is_looked_for_once,
        accepts_tokens::of_which_one_without_a_name_is_found_after_a_rotation,
        accepts_tokens::with_the_last_good_keys_while_the_issuer_is_away_or_talks_nonsense,
        accepts_tokens::once_the_issuer_is_there,
        accepts_tokens::but_not_of_an_issuer_that_is_another_one,
        accepts_tokens::from_an_issuer_that_is_slow,
        embedded_broker_keeps_events::over_kill_9_of_the_program,
        embedded_broker_keeps_events::over_a_stop,
        embedded_broker_keeps_events::unless_its_port_is_taken,
        embedded_broker_keeps_events::that_were_acknowledged_before_the_disk_was_full,
        tells_topics_apart::unless_kafka_cannot_be_asked,
        asks_who_may::but_not_with_settings_that_do_not_fit,
        defines_apis::unless_the_file_has_faults,
        says_what_is_wrong::in_settings,
        says_what_is_wrong::with_certificates,
        says_what_is_wrong::with_ports,
        says_what_is_wrong::but_never_a_secret,
        says_what_is_wrong::to_a_health_check,
        guards_the_internal_port::unless_its_settings_are_of_no_use,
    ]);
    let mut arguments = Arguments::from_args();
    // They wait most of the time: for Kafka, for heartbeats, for nothing to come.
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials).exit();
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Apache => "apache",
        }
    }

    /// Returns why there cannot be such a broker on this machine.
    fn missing(self) -> Option<Unavailable> {
        match self {
            Self::Embedded => None,
            Self::Apache => support::kafka::missing_programs(),
        }
    }
}

/// Runs one behaviour on the broker of the run.
fn on<F>(
    backend: Backend,
    behaviour: impl FnOnce(&'static Kafka) -> F + Send + 'static,
) -> Result<(), Failed>
where
    F: Future<Output = ()>,
{
    let kafka = of_run(backend).map_err(|why| why.to_string())?;
    run(move || behaviour(kafka))
}

/// Runs a behaviour on a runtime and a thread of its own, and gives it up if it does not end.
fn run<F>(behaviour: impl FnOnce() -> F + Send + 'static) -> Result<(), Failed>
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (running, end) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _running = running;
        runtime.block_on(behaviour());
        runtime.shutdown_background();
    });
    if end.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
        return Err(format!("it has not ended after {LONGEST:?}").into());
    }
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok(())
}
